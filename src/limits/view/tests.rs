use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn beat(number: u64, wants: u8, done: u64) -> Vec<u8> {
    let counts = Counts { done, ..Counts::default() };
    Beat { number, every: 2, wants, counts, ..Beat::default() }.text()
}

fn board<const N: usize>(members: [(&str, Vec<u8>); N]) -> Board {
    members.into_iter().map(|(name, text)| (format!("{MEMBER}{name}"), text)).collect()
}

fn view() -> View {
    View::new(&format!("{MEMBER}me"))
}

#[test]
fn a_limit_is_divided_among_those_that_it_holds_up() {
    let mut view = view();
    assert_eq!(view.share(0, 1), 1.0, "nobody else is known");
    let three = |n| board([("me", beat(n, 0, 0)), ("a", beat(n, 15, 0)), ("b", beat(n, 0, 0))]);
    view.observe(&three(1), Duration::ZERO);
    let newcomer = view.share(0, 15);
    assert!(newcomer < 0.1, "the others do not know of it yet: {newcomer}");
    view.observe(&three(2), 2 * SECOND);
    assert_eq!(view.living(), 3);
    let busy = view.share(0, 15);
    assert!((busy - 1.0 / 2.1).abs() < 1e-9, "{busy}");
    let idle = view.share(0, 0);
    assert!((idle - 0.1 / 1.2).abs() < 1e-9, "{idle}");
    // Each limit has a bit of its own.
    assert_eq!(view.share(2, 0b0100), busy);
}

#[test]
fn what_stands_still_is_dead_unless_nothing_could_be_read() {
    let mut view = view();
    let two = |n| board([("a", beat(n, 15, 7))]);
    view.observe(&two(1), Duration::ZERO);
    view.observe(&two(2), 2 * SECOND);
    assert_eq!(view.living(), 2);
    view.observe(&two(2), 3 * SECOND);
    assert_eq!(view.living(), 2, "a late one");
    view.observe(&two(2), 3 * SECOND);
    assert_eq!((view.living(), view.share(0, 15)), (1, 1.0));
    assert_eq!(view.total(Counts::default()).done, 7, "what it did stays done");
    view.observe(&two(3), 3 * SECOND);
    assert_eq!(view.living(), 2, "it was only slow");
}

#[test]
fn everybody_has_a_place_of_its_own_for_the_detail() {
    let at = |place| Beat { place, ..Beat::default() }.text();
    let mut view = view();
    assert_eq!(view.place(None), 0);
    view.observe(&board([("a", at(0)), ("z", at(1))]), Duration::ZERO);
    assert_eq!(view.place(None), 2);
    assert_eq!(view.place(Some(1)), 1, "z gives way");
    assert_eq!(view.place(Some(0)), 2, "a came first");
    assert_eq!(view.places(&[format!("{MEMBER}z")]), [(format!("{MEMBER}z"), 1)]);
}

#[test]
fn one_of_the_living_moves_the_counts_of_the_dead() {
    let dead = |n, past: u64| {
        let past = Counts { done: past, ..Counts::default() };
        let past = [(PAST.to_owned(), serde_json::to_vec(&past).unwrap())];
        board([("dead", beat(1, 0, 5)), ("z", beat(n, 0, 1))]).into_iter().chain(past).collect()
    };
    let mut view = view();
    view.observe(&dead(1, 100), Duration::ZERO);
    view.observe(&dead(2, 100), FORGOTTEN.saturating_sub(SECOND));
    assert_eq!(view.forgotten(), None);
    view.observe(&dead(3, 100), SECOND);
    let (parts, past) = view.forgotten().unwrap();
    assert_eq!((parts, past.done), (vec![format!("{MEMBER}dead")], 105));
    assert_eq!(view.total(Counts { done: 1000, ..Counts::default() }).done, 1106);
    let mut other = View::new(&format!("{MEMBER}zz"));
    other.observe(&dead(1, 100), Duration::ZERO);
    other.observe(&dead(2, 100), FORGOTTEN);
    assert_eq!(other.forgotten(), None, "z lives, and comes first");
}

#[test]
fn many_processes_look_less_often_but_within_a_minute() {
    let mut view = view();
    assert_eq!((view.interval(true), view.interval(false)), (LIMITED, UNLIMITED));
    let names: Vec<String> = (0..1000).map(|n| format!("{MEMBER}{n}")).collect();
    let many = |count: usize| names[..count].iter().map(|n| (n.clone(), beat(1, 0, 0))).collect();
    view.observe(&many(39), SECOND);
    assert_eq!((view.interval(true), view.interval(false)), (10 * SECOND, 10 * SECOND));
    view.observe(&many(1000), SECOND);
    assert_eq!(view.interval(true), LONGEST);
}

#[test]
fn a_function_knows_whether_there_is_a_cluster() {
    let heard_of = |name: &str, member: Member, at: u64| {
        let text = Beat { member, at, every: 10, ..Beat::default() }.text();
        let mut view = view();
        view.observe(&board([(name, text)]), Duration::ZERO);
        view.has_machines(1000)
    };
    assert!(heard_of("i-0123-7~abcd", Member::Worker, 990));
    assert!(!heard_of("i-0123-7~abcd", Member::Worker, 800), "it has been gone for minutes");
    assert!(!heard_of("lambda-0123~abcd", Member::Worker, 990), "it is a function, too");
    assert!(!heard_of("i-0123-8~abcd", Member::Jobsender, 990));
}
