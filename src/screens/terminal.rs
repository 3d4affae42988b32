//! The terminal itself: taken over for the screen, and given back.

use std::io::{self, IsTerminal, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

use super::{Input, Screen};

/// How soon the thread that reads keys notices that it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Keys that wait.
const WAITING: usize = 64;

/// A terminal that shows the screen until this is dropped, also after a panic.
pub struct Terminal(ratatui::Terminal<CrosstermBackend<Stdout>>);

impl Terminal {
    /// Whether there is one: somebody who reads and types.
    pub fn is_there() -> bool {
        io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    /// Takes it over.
    pub fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Shows the screen as it is now.
    pub fn show(&mut self, screen: &Screen) -> io::Result<()> {
        self.0.draw(|frame| screen.draw(frame)).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Reads keys on a thread of its own, since reading a terminal blocks.
pub struct KeyReader {
    inputs: mpsc::Receiver<Input>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl KeyReader {
    /// Begins to read.
    pub fn start() -> Self {
        let (sender, inputs) = mpsc::channel(WAITING);
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let input =
                    match event::poll(LOOK).and_then(|there| there.then(event::read).transpose()) {
                        Ok(Some(Event::Key(key))) => Input::Key(key),
                        Ok(Some(Event::Resize(..))) => Input::Resized,
                        Ok(_) => continue,
                        // The terminal is gone.
                        Err(_) => break,
                    };
                if sender.blocking_send(input).is_err() {
                    break;
                }
            }
        });
        Self { inputs, is_over, thread: Some(thread) }
    }

    /// Waits for the next one; `None`: the terminal is gone.
    pub async fn next(&mut self) -> Option<Input> {
        self.inputs.recv().await
    }
}

impl Drop for KeyReader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.inputs.close();
        if let Some(thread) = self.thread.take() {
            // It ends within LOOK.
            let _ = thread.join();
        }
    }
}
