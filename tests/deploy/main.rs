//! What runs on an instance: the units, what the binary tells systemd and the journal, the files that
//! are installed.
//!
//! | file | holds |
//! |---|---|
//! | `units.rs` | the units as systemd reads them, how much they expose, and that they fit the program |
//! | `notify.rs` | what the real binary tells systemd: ready, status, watchdog, stopping |
//! | `journal.rs` | a real journald in namespaces of its own, and the fields that it gets |
//! | `logfile.rs` | the file that gets every line besides |
//! | `agreement.rs` | names, paths and times that stand in more than one place |
//! | `filters.rs` | the template's metric filters, on the lines that the binary writes |
//! | `guide.rs` | `docs/deploy.md`: its commands by the AWS CLI, its values, its sums |
//! | `packer.rs` | what is in the release and where it is put |
//! | `download.rs` | what there is to download, installed and run in the roots of `clean.rs` |
//! | `scaling.rs` | the template's scaling against the one that is played through, and docs/scaling.md |
//! | `serverless.rs` | the functions' template: its stack, alone and with a cluster, and its NAT instance |
//! | `serverless_guide.rs` | `docs/serverless.md`: its ten commands, and the cluster next to the functions |
//! | `stack.rs` | stacks of the templates in ministack |
//! | `roles.rs` | the roles of a stack: as `check` prints them, enough, and no more than that |
//! | `template.rs` | the cluster's template, and the program on the stack that it makes |

mod agreement;
mod clean;
mod download;
mod filters;
mod guide;
mod journal;
mod logfile;
mod notify;
mod packer;
mod roles;
mod scaling;
mod serverless;
mod serverless_guide;
mod stack;
mod template;
mod units;
