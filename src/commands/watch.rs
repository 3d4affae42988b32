//! `status` for a fleet: what its processes say of themselves, once or as a full screen.

use std::io;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, OptionFuture};

use super::limit::{self, Place};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::logging::HeldLines;
use crate::overview::{Overview, Reading};
use crate::screens::{Action, Input, KeyReader, Screen, Terminal};
use crate::shutdown::Halt;
use crate::wiring::fleets;

/// Between two looks at the table.
const EVERY: Duration = Duration::from_secs(2);
/// How long a look or a change may take before the screen says so.
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
    // Dropped last: when the screen is gone.
    let _lines = HeldLines::begin();
    let mut terminal = Terminal::open().map_err(unusable)?;
    let mut keys = KeyReader::start();
    let mut look = look(config, &places, Duration::ZERO);
    let mut change: Option<BoxFuture<'_, String>> = None;
    // Keys are heard while the table has not answered yet.
    loop {
        terminal.show(&screen).map_err(unusable)?;
        let action = tokio::select! {
            () = halt.stop.cancelled() => Action::Quit,
            input = keys.next() => match input {
                Some(Input::Key(key)) => screen.press(key),
                Some(Input::Resized) => Action::Nothing,
                None => Action::Quit,
            },
            seen = &mut look => {
                screen.take(seen);
                look = self::look(config, &places, EVERY);
                Action::Nothing
            }
            Some(said) = OptionFuture::from(change.as_mut()) => {
                (change, screen.message) = (None, said);
                look = self::look(config, &places, Duration::ZERO);
                Action::Nothing
            }
        };
        match action {
            Action::Nothing => {}
            Action::Quit => return Ok(()),
            // Two at a time could arrive in either order.
            _ if change.is_some() => {
                "wait: the last change is under way".clone_into(&mut screen.message);
            }
            action => change = changes(action, &places, &screen),
        }
    }
}

fn unusable(error: io::Error) -> Error {
    Error::usage(format!("the terminal cannot be used: {error}")).with_source(error)
}

/// Looks at the fleets after this time; why it could not, otherwise.
fn look<'a>(
    config: &'a Config,
    places: &'a [Place],
    after: Duration,
) -> BoxFuture<'a, std::result::Result<Vec<Overview>, String>> {
    async move {
        tokio::time::sleep(after).await;
        match tokio::time::timeout(SLOW, overviews(config, places)).await {
            Ok(seen) => seen.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }
    .boxed()
}

/// Does what a key asks for, to the fleet that is shown; answers what to say about it.
fn changes<'a>(
    action: Action,
    places: &'a [Place],
    screen: &Screen,
) -> Option<BoxFuture<'a, String>> {
    let shown = screen.fleet()?;
    let place = places.iter().find(|place| place.name == shown.fleet)?;
    let change = async move {
        match action {
            Action::Nothing | Action::Quit => Ok(""),
            Action::Pause => limit::pause_fleet(place).await.map(|()| "paused"),
            Action::Resume => limit::resume_fleet(place).await.map(|()| "resumed"),
            Action::Limit(rate) => limit::limit_fleet(place, &rate).await.map(|()| "limit changed"),
        }
    };
    let said = async move {
        match tokio::time::timeout(SLOW, change).await {
            Ok(Ok(said)) => said.to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer: look at whether it has changed".to_owned(),
        }
    };
    Some(said.boxed())
}
