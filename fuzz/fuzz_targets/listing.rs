#![no_main]

#[path = "../../tests/properties/parsers.rs"]
#[allow(dead_code, reason = "one function for each target")]
mod parsers;

libfuzzer_sys::fuzz_target!(|document: &[u8]| parsers::listing(document));
