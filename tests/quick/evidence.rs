//! Documents that name a test for each of their statements: each of these tests exists.

use std::fs;
use std::path::Path;

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every `FILE.rs::NAME` in the text. Fails if there is none.
fn named_tests(text: &str) -> Vec<(String, String)> {
    let named = Regex::new(r"`([a-z_0-9/-]+\.rs)::([a-z_0-9]+)`").expect("a pattern");
    named.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

fn assert_tests_exist(document: &str, least: usize) {
    let text = read(document);
    let named = named_tests(&text);
    assert!(named.len() >= least, "{document} names {} tests", named.len());
    for (file, name) in named {
        let found = read(&file).contains(&format!("fn {name}("));
        assert!(found, "{document}: {file} has no {name}");
    }
}

#[test]
fn what_users_of_the_original_are_told_is_held_by_tests() {
    assert_tests_exist("docs/coming-from-the-original.md", 20);
}

/// A number as the documents write it.
fn number(text: &str) -> f64 {
    let text = text.trim().trim_matches('*').replace(',', "");
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Every row of every table is multiplied, every table added up, and every price is one of the price
/// file.
#[test]
fn the_costs_of_the_versions_are_summed_up_right() {
    let prices: serde_json::Value = serde_json::from_str(&read("prices.json")).expect("JSON");
    let region = &prices["regions"]["us-east-1"];
    let mut known: Vec<f64> = region["compute"]
        .as_object()
        .expect("prices")
        .iter()
        .map(|(name, price)| {
            let price = price.as_f64().expect("a price");
            if name.contains("_per_million_") { price / 1e6 } else { price }
        })
        .collect();
    known.push(region["sqs"]["per_million"].as_f64().expect("a price") / 1e6);
    let page = read("docs/which.md");
    let mut tables = 0;
    for table in page.split("| what | how many | price of one | dollars |").skip(1) {
        let (mut sum, mut rows) = (0.0, table.lines().skip(2));
        loop {
            let row = rows.next().expect("a sum ends the table");
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [what, count, price, dollars] = cells[..] else { panic!("{row}") };
            if what == "**sum**" {
                assert_eq!(format!("{sum:.2}"), dollars, "{table}");
                break;
            }
            let (cost, shown) = (number(count) * number(price), number(dollars));
            assert!(known.iter().any(|known| (known - number(price)).abs() < 1e-12), "{row}");
            assert_eq!(format!("{cost:.2}"), dollars, "{row}");
            sum += shown;
        }
        tables += 1;
    }
    assert_eq!(tables, 7);
    for price in ["0.045 an hour", "0.045 for each GB"] {
        assert!(page.contains(price), "{price}");
    }
}

/// The alarms of the functions' template look at as many metrics as the page counts.
#[test]
fn the_metrics_that_alarms_look_at_are_all_counted() {
    let template = read("cloudformation/serverless.yaml");
    let resource =
        Regex::new(r"(?m)^  [A-Za-z0-9]+:\n    Type: AWS::CloudWatch::Alarm\n((?:    .*\n)+)")
            .expect("a pattern");
    let (mut always, mut nat) = (0, 0);
    for found in resource.captures_iter(&template) {
        let metrics = found[1].matches("MetricStat:").count().max(1);
        match found[1].contains("Condition: Nat") {
            true => nat += metrics,
            false => always += metrics,
        }
    }
    let page = read("docs/which.md");
    for row in [
        format!("| metrics that alarms look at | {always} |"),
        format!("| metrics that its alarm looks at | {nat} |"),
    ] {
        assert!(page.contains(&row), "{row}");
    }
}

/// Every `FILE: NAME` of a template in the text.
fn named_resources(text: &str) -> Vec<(String, String)> {
    let named = Regex::new(r"`(cloudformation/[a-z]+\.yaml): (\w+)`").expect("a pattern");
    named.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

#[test]
fn every_sentence_of_the_seed_is_fulfilled_by_something_that_exists() {
    assert_tests_exist("docs/seed-coverage.md", 70);
    let page = read("docs/seed-coverage.md");
    for (template, name) in named_resources(&page) {
        assert!(read(&template).contains(&format!("\n  {name}:\n")), "{template} has no {name}");
    }
    let rows =
        page.lines().filter(|line| line.starts_with("| ") && !line.contains(" fulfilled by "));
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [says, by] = cells[..] else { panic!("two cells: {row}") };
        assert!(!says.trim().is_empty(), "{row}");
        // Links are followed by the tests of the documents.
        let is_held =
            !named_tests(by).is_empty() || !named_resources(by).is_empty() || by.contains("](");
        assert!(is_held, "nothing fulfils: {says}");
        count += 1;
    }
    assert!(count > 80, "{count}");
}
