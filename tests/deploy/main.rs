//! What runs on an instance: the units, what the binary tells systemd and the journal, the files that
//! are installed.
//!
//! | file | holds |
//! |---|---|
//! | `units.rs` | the units as systemd reads them, how much they expose, and that they fit the program |
//! | `notify.rs` | what the real binary tells systemd: ready, status, watchdog, stopping |
//! | `journal.rs` | a real journald in namespaces of its own, and the fields that it gets |
//! | `logfile.rs` | the file that gets every line besides |
//! | `packer.rs` | what is in the release and where it is put |
//! | `scaling.rs` | the template's scaling against the one that is played through, and docs/scaling.md |
//! | `template.rs` | the cluster's template, and the program on the stack that it makes |

#[path = "../support/gate.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod gate;
#[path = "../support/local.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod local;
#[path = "../support/mod.rs"]
mod support;

#[path = "../support/process.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod process;

#[path = "../../examples/scaling/mod.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod scaling_model;

mod journal;
mod logfile;
mod notify;
mod packer;
mod scaling;
mod template;
mod units;
