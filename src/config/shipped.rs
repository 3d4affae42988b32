//! The text of the shipped `s3_migration_config.ini`, made from the table of keys.

use super::keys::{KEYS, Key, SECTIONS};

const HEADER: &str = "\
# Configuration of s3-migration. Every key may be left out: the value here is its default.
# Names and True/False are matched in any case. A comment needs its own line.
#
# The first of these is read: the file named by --config, ./s3_migration_config.ini,
# ./s3_migration_cluster_config.ini, /etc/s3-migration/s3_migration_config.ini.
#
# Environment variables override this file. SECTION_KEY (for example Source_Endpoint or
# MODE_MAXTHREAD) works for every key, in any case. The key's name alone works too, spelled exactly
# as here, unless the key's own comment names another variable as the only one.
";

/// Column at which comments are wrapped.
const WIDTH: usize = 98;

/// The text of the whole file.
pub fn shipped_ini() -> String {
    let mut ini = HEADER.to_owned();
    for section in SECTIONS {
        ini.push_str(&format!("\n[{}]\n# {}\n", section.name, section.meaning));
        KEYS.iter().filter(|key| key.section == section.name).for_each(|key| entry(&mut ini, key));
    }
    ini
}

fn entry(ini: &mut String, key: &Key) {
    ini.push('\n');
    comment(ini, key.meaning);
    let default = if key.default.is_empty() { "empty" } else { key.default };
    comment(ini, &format!("allowed: {}; default: {default}", key.allowed()));
    if !key.env_by_name_alone() {
        comment(ini, &format!("environment variable: {} only", key.env_name()));
    }
    ini.push_str(format!("{} = {}", key.name, key.default).trim_end());
    ini.push('\n');
}

fn comment(ini: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            ini.push_str(&line);
            ini.push('\n');
            line = String::from("#  ");
        }
        line.push(' ');
        line.push_str(word);
    }
    ini.push_str(&line);
    ini.push('\n');
}
