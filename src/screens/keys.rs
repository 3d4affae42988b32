//! What a key means.
//!
//! Pure: the key and the screen are arguments.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Screen;

/// What came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Another size: draw again.
    Resized,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Only the screen has changed.
    Nothing,
    /// Let nothing new begin.
    Pause,
    /// Go on.
    Resume,
    /// Set the bandwidth of both sides.
    Limit(String),
    /// End.
    Quit,
}

/// The longest limit that can be typed.
const LONGEST: usize = 60;

impl Screen {
    /// Takes in a key.
    pub fn press(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Action::Quit } else { Action::Nothing };
        }
        match &mut self.input {
            Some(_) => self.type_limit(key.code),
            None => self.command(key.code),
        }
    }

    fn command(&mut self, key: KeyCode) -> Action {
        self.message.clear();
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('p') => return Action::Pause,
            KeyCode::Char('r') => return Action::Resume,
            KeyCode::Char('l') => self.input = Some(String::new()),
            KeyCode::Tab => self.shown = (self.shown + 1) % self.fleets.len().max(1),
            _ => {}
        }
        Action::Nothing
    }

    fn type_limit(&mut self, key: KeyCode) -> Action {
        let Some(input) = &mut self.input else { return Action::Nothing };
        match key {
            KeyCode::Char(typed) if input.chars().count() < LONGEST && !typed.is_control() => {
                input.push(typed);
            }
            KeyCode::Backspace => {
                input.pop();
            }
            KeyCode::Esc => self.input = None,
            KeyCode::Enter => {
                let limit = self.input.take().unwrap_or_default();
                if !limit.trim().is_empty() {
                    return Action::Limit(limit.trim().to_owned());
                }
            }
            _ => {}
        }
        Action::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(screen: &mut Screen, code: KeyCode) -> Action {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_do_what_the_last_line_says() {
        let mut screen = Screen { message: "before".to_owned(), ..Screen::default() };
        assert_eq!(press(&mut screen, KeyCode::Char('p')), Action::Pause);
        assert_eq!(screen.message, "");
        assert_eq!(press(&mut screen, KeyCode::Char('r')), Action::Resume);
        assert_eq!(press(&mut screen, KeyCode::Char('x')), Action::Nothing);
        assert_eq!(press(&mut screen, KeyCode::Tab), Action::Nothing);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Action::Quit);
        let stop = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        screen.input = Some(String::new());
        assert_eq!(screen.press(stop), Action::Quit);
    }

    #[test]
    fn a_limit_is_typed_and_may_be_given_up() {
        let mut screen = Screen::default();
        for key in ['l', '5', '0', 'X'] {
            assert_eq!(press(&mut screen, KeyCode::Char(key)), Action::Nothing);
        }
        press(&mut screen, KeyCode::Backspace);
        press(&mut screen, KeyCode::Char('M'));
        assert_eq!(press(&mut screen, KeyCode::Enter), Action::Limit("50M".to_owned()));
        assert_eq!(screen.input, None);
        press(&mut screen, KeyCode::Char('l'));
        press(&mut screen, KeyCode::Char('p'));
        assert_eq!(press(&mut screen, KeyCode::Esc), Action::Nothing);
        assert_eq!(screen.input, None);
        press(&mut screen, KeyCode::Char('l'));
        assert_eq!(press(&mut screen, KeyCode::Enter), Action::Nothing);
    }
}
