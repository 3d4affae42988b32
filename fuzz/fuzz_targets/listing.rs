#![no_main]

libfuzzer_sys::fuzz_target!(|document: &[u8]| parsers::listing(document));
