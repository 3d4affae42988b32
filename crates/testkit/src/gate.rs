//! Holds calls back at a known point of a process's work.

use std::sync::Arc;

use s3_endpoint::{Gate, Passage};
use tokio::sync::watch;

use crate::process::BOUND;

/// Lets a number of calls of one operation pass and holds the rest.
#[derive(Debug)]
pub struct Hold {
    operation: &'static str,
    pass: u64,
    asked: watch::Sender<u64>,
    end: watch::Sender<Option<Release>>,
}

/// What happens to held calls.
#[derive(Clone, Copy, Debug)]
enum Release {
    Passed,
    Lost,
}

impl Hold {
    /// Lets `pass` calls of `operation` through, then holds the next.
    pub fn new(operation: &'static str, pass: u64) -> Arc<Self> {
        let (asked, end) = (watch::Sender::new(0), watch::Sender::new(None));
        Arc::new(Self { operation, pass, asked, end })
    }

    /// Waits until a call is held.
    pub async fn reached(&self) {
        let mut asked = self.asked.subscribe();
        let held = asked.wait_for(|asked| *asked > self.pass);
        assert!(tokio::time::timeout(BOUND, held).await.is_ok(), "no call is held");
    }

    /// Lets held and later calls pass.
    pub fn open(&self) {
        self.end.send_replace(Some(Release::Passed));
    }

    /// Lets later calls pass, but held ones never arrive. A request of a killed process may be
    /// complete in the system's buffers; whether it counted would be left to chance.
    pub fn forget(&self) {
        self.end.send_replace(Some(Release::Lost));
    }
}

#[async_trait::async_trait]
impl Gate for Hold {
    async fn before(&self, operation: &str, _: &str, _: &str) -> Passage {
        if operation != self.operation || self.end.borrow().is_some() {
            return Passage::Free;
        }
        let mut end = self.end.subscribe();
        let mut asked = 0;
        self.asked.send_modify(|all| {
            *all += 1;
            asked = *all;
        });
        if asked <= self.pass {
            return Passage::Free;
        }
        let released = end.wait_for(Option::is_some).await.map(|release| *release);
        if let Ok(Some(Release::Lost)) = released {
            std::future::pending().await
        }
        Passage::Free
    }
}
