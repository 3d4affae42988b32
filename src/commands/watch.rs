//! `status` for a fleet: what its processes say of themselves, once or as a full screen.

use std::time::{Duration, Instant, SystemTime};

use super::limit::{self, Place};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::overview::{Overview, Reading};
use crate::screens::{Action, Input, KeyReader, Screen, Terminal};
use crate::shutdown::Halt;
use crate::wiring::fleets;

/// Between two looks at the table.
const EVERY: Duration = Duration::from_secs(2);
/// How long a look may take before the screen says so.
const SLOW: Duration = Duration::from_secs(30);

/// The fleets that the configuration means; none if nobody has ever been there.
pub(super) async fn overviews(config: &Config, places: &[Place]) -> Result<Vec<Overview>> {
    let currency = fleets::prices(config, None)?.currency;
    let mut overviews = Vec::new();
    for place in places {
        let reading = Reading::of(&*place.state, &place.key).await?;
        if !reading.is_empty() {
            let now = SystemTime::now();
            overviews.push(reading.overview(&place.name, &config.limits, &currency, now));
        }
    }
    Ok(overviews)
}

/// Shows the fleets until somebody has seen enough.
pub(super) async fn watch(config: &Config, halt: &Halt) -> Result<()> {
    let places = Place::find(config).await?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut screen = Screen { colour: !no_colour, ..Screen::default() };
    let cannot = |error: std::io::Error| {
        Error::usage(format!("the terminal cannot be used: {error}")).with_source(error)
    };
    let mut terminal = Terminal::open().map_err(cannot)?;
    let mut keys = KeyReader::start();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= EVERY) {
            match tokio::time::timeout(SLOW, overviews(config, &places)).await {
                Ok(Ok(fleets)) => screen.fleets = fleets,
                Ok(Err(error)) => screen.message = format!("not up to date: {error}"),
                Err(_) => screen.message = "not up to date: no answer".to_owned(),
            }
            looked = Some(Instant::now());
        }
        terminal.show(&screen).map_err(cannot)?;
        let action = tokio::select! {
            () = halt.stop.cancelled() => Action::Quit,
            () = tokio::time::sleep(EVERY) => Action::Nothing,
            input = keys.next() => match input {
                Some(Input::Key(key)) => screen.press(key),
                Some(Input::Resized) => Action::Nothing,
                None => Action::Quit,
            },
        };
        if action == Action::Quit {
            return Ok(());
        }
        if let Some(said) = act(&action, &places, &screen).await {
            screen.message = said;
            looked = None;
        }
    }
}

/// Does what a key asks for, to the fleet that is shown; what to say about it.
async fn act(action: &Action, places: &[Place], screen: &Screen) -> Option<String> {
    let shown = screen.fleet()?;
    let place = places.iter().find(|place| place.name == shown.fleet)?;
    let (done, said) = match action {
        Action::Nothing | Action::Quit => return None,
        Action::Pause => (limit::pause_fleet(place).await, "paused"),
        Action::Resume => (limit::resume_fleet(place).await, "resumed"),
        Action::Limit(rate) => (limit::limit_fleet(place, rate).await, "limit changed"),
    };
    Some(done.map_or_else(|error| error.to_string(), |()| said.to_owned()))
}
