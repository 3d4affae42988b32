//! One connection: request after request, each with its fault.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::call::Call;
use super::fault::{Answer, End, Fault, Faults, Shape, Stop};
use super::http::{self, Body, Head, Wire};
use super::{Outcome, Shared};

/// The server may close a connection that was idle for longer than this at any moment.
const FRESH: Duration = Duration::from_secs(1);
/// A server that refuses the rest of a body says why within this time.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The chunks of `aws-chunked` begin with a line that is not data.
const AWS_CHUNK_LINE: u64 = 96;

/// What happens to the connection after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Again,
    Close,
    Reset,
}

/// The client's connection, with its own connection to the server.
struct Relay {
    shared: Arc<Shared>,
    client: Wire,
    server: Option<(Wire, Instant)>,
}

/// Serves a client until either side ends the connection or an outage begins.
pub async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut out = shared.out.subscribe();
    let Ok(client) = Wire::new(stream) else { return };
    let mut relay = Relay { shared, client, server: None };
    let then = tokio::select! {
        then = relay.requests() => then.unwrap_or(Then::Reset),
        _ = out.wait_for(|out| *out) => Then::Reset,
    };
    if then == Then::Reset {
        relay.client.reset();
        if let Some((server, _)) = relay.server {
            server.reset();
        }
    }
}

impl Relay {
    async fn requests(&mut self) -> io::Result<Then> {
        loop {
            let Some(head) = self.client.input.head().await? else { return Ok(Then::Close) };
            let about = match (Call::is_by_target(&head), head.content_length()) {
                (true, Some(length)) => self.client.input.peek(length as usize).await?,
                _ => Default::default(),
            };
            let call = Call::of(&head, &String::from_utf8_lossy(&about));
            let fault = self.shared.fault(&call);
            let name = fault.as_ref().map(|(_, fault)| fault.name());
            let mut noted = Noted {
                shared: Arc::clone(&self.shared),
                number: self.shared.begins(call, name),
                outcome: Outcome::None,
            };
            match self.request(&head, fault, &mut noted.outcome).await? {
                Then::Again => {}
                end => return Ok(end),
            }
        }
    }

    async fn request(
        &mut self,
        head: &Head,
        fault: Option<(Arc<Faults>, Fault)>,
        outcome: &mut Outcome,
    ) -> io::Result<Then> {
        match &fault {
            Some((_, Fault::Reset)) => return Ok(Then::Reset),
            Some((_, Fault::Answer(answer))) => {
                *outcome = Outcome::Status(answer.status);
                return self.canned(head, answer, true).await;
            }
            Some((_, Fault::Delay(time))) => tokio::time::sleep(*time).await,
            Some((faults, Fault::Hold)) if faults.hold().await == End::Dropped => {
                return Ok(Then::Reset);
            }
            _ => {}
        }
        let (answer, whole) = match self.ask(head, fault.as_ref()).await? {
            Asked::Stopped(then) => return Ok(then),
            Asked::Answered(answer, whole) => (answer, whole),
        };
        let mut body = answer.answer_body(head.word(0));
        let again = whole
            && !body.ends_with_connection()
            && !answer.has("connection", "close")
            && !head.has("connection", "close");
        match &fault {
            Some((_, Fault::LostAnswer)) => {
                self.drop_answer(&mut body).await?;
                return Ok(Then::Reset);
            }
            Some((_, Fault::Instead(canned))) => {
                self.drop_answer(&mut body).await?;
                *outcome = Outcome::Status(canned.status);
                return self.canned(head, canned, false).await;
            }
            Some((faults, Fault::HoldAnswer)) if faults.hold().await == End::Dropped => {
                return Ok(Then::Reset);
            }
            _ => {}
        }
        *outcome = Outcome::Status(answer.status());
        if let Some((_, Fault::Rewritten(_, rewrite))) = &fault {
            self.rewritten(&answer, &mut body, *rewrite).await?;
            return Ok(if again { Then::Again } else { Then::Close });
        }
        let passed = self.answer(&answer, body, fault.as_ref()).await?;
        if let Some((_, since)) = &mut self.server {
            *since = Instant::now();
        }
        Ok(match (passed, again) {
            (None, true) => Then::Again,
            (None, false) => Then::Close,
            (Some(then), _) => then,
        })
    }

    /// Sends the request to the server and waits for the head of the answer.
    async fn ask(
        &mut self,
        head: &Head,
        fault: Option<&(Arc<Faults>, Fault)>,
    ) -> io::Result<Asked> {
        let mut body = head.request_body();
        let mut shape = fault.map(|(_, fault)| fault.of_request()).unwrap_or_default();
        shape = shape.within(head.content_length());
        if head.has("content-encoding", "aws-chunked") {
            shape.flip = shape.flip.map(|at| at + AWS_CHUNK_LINE);
        }
        let server = self.server().await?;
        server.output.write_all(head.bytes()).await?;
        let Self { client, server: Some((server, _)), .. } = self else { unreachable!() };
        let mut whole = false;
        let stopped = {
            let mut passing =
                pin!(http::pass(&mut body, &mut client.input, &mut server.output, &shape));
            let mut over = false;
            loop {
                tokio::select! {
                    passed = &mut passing, if !over => match passed {
                        Ok(Some(stop)) => break stop,
                        Ok(None) => (over, whole) = (true, true),
                        // The server may have stopped reading because it has answered with an error.
                        Err(_) => over = true,
                    },
                    answer = server.input.head() => match answer? {
                        None => return Ok(Asked::Stopped(Then::Reset)),
                        Some(answer) if answer.status() < 200 => {
                            client.output.write_all(answer.bytes()).await?;
                        }
                        Some(answer) => return Ok(Asked::Answered(answer, whole)),
                    },
                    () = tokio::time::sleep(LAST_WORDS), if over && !whole => {
                        return Ok(Asked::Stopped(Then::Reset));
                    }
                }
            }
        };
        if let (Stop::Stall, Some((faults, _))) = (stopped, fault) {
            // Reads nothing in the meantime, not even to see whether the client has closed: to the
            // client, whatever is read has been sent, so nothing would stall.
            faults.hold().await;
        }
        Ok(Asked::Stopped(stopped.then()))
    }

    /// A connection that the server has not closed.
    async fn server(&mut self) -> io::Result<&mut Wire> {
        let usable = self.server.take().filter(|(_, since)| since.elapsed() < FRESH);
        let usable = usable.and_then(|(mut wire, _)| (!wire.input.is_over()).then_some(wire));
        let wire = match usable {
            Some(wire) => wire,
            None => Wire::new(TcpStream::connect(self.shared.target).await?)?,
        };
        Ok(&mut self.server.insert((wire, Instant::now())).0)
    }

    /// Forwards the answer as far as the fault allows.
    async fn answer(
        &mut self,
        head: &Head,
        mut body: Body,
        fault: Option<&(Arc<Faults>, Fault)>,
    ) -> io::Result<Option<Then>> {
        let length = head.content_length().filter(|_| !body.is_over());
        let mut shape = fault.map(|(_, fault)| fault.of_answer()).unwrap_or_default();
        shape = shape.within(length);
        let (mut announced, mut behind) = (head.clone(), 0);
        match (fault, length) {
            (Some((_, Fault::ShortAnswer(less))), Some(length)) => {
                let short = length.saturating_sub(*less);
                announced = head.with_content_length(short);
                shape = Shape::stopped(short, Stop::Close);
            }
            (Some((_, Fault::LongAnswer(more))), Some(length)) => {
                announced = head.with_content_length(length + more);
                behind = *more;
            }
            (Some((_, Fault::BytesBehindAnswer(more))), Some(_)) => behind = *more,
            _ => {}
        }
        let Self { client, server: Some((server, _)), .. } = self else { unreachable!() };
        client.output.write_all(announced.bytes()).await?;
        let stopped = http::pass(&mut body, &mut server.input, &mut client.output, &shape).await?;
        client.output.write_all(&vec![b'+'; behind as usize]).await?;
        match stopped {
            None => Ok(None),
            Some(stop) => {
                if let (Stop::Stall, Some((faults, _))) = (stop, fault) {
                    // The whole request has been read: only the client's close can come now.
                    tokio::select! {
                        () = client.input.closed() => {}
                        _ = faults.hold() => {}
                    }
                }
                Ok(Some(stop.then()))
            }
        }
    }

    /// Forwards an answer with a body made from the server's.
    async fn rewritten(
        &mut self,
        head: &Head,
        body: &mut Body,
        rewrite: fn(Vec<u8>) -> Vec<u8>,
    ) -> io::Result<()> {
        let Self { client, server: Some((server, since)), .. } = self else { unreachable!() };
        let mut whole = Vec::new();
        while let Some(piece) = body.piece(&mut server.input).await? {
            if piece.is_data {
                whole.extend_from_slice(&piece.bytes);
            }
        }
        *since = Instant::now();
        let whole = rewrite(whole);
        client.output.write_all(head.with_body_of(whole.len() as u64).bytes()).await?;
        client.output.write_all(&whole).await
    }

    async fn drop_answer(&mut self, body: &mut Body) -> io::Result<()> {
        if let Some((server, _)) = &mut self.server {
            while body.piece(&mut server.input).await?.is_some() {}
        }
        Ok(())
    }

    /// Sends a canned answer. `unread`: the request's body is still to come.
    async fn canned(&mut self, head: &Head, answer: &Answer, unread: bool) -> io::Result<Then> {
        let waits = head.has("expect", "100-continue");
        if unread && !waits {
            let mut body = head.request_body();
            while body.piece(&mut self.client.input).await?.is_some() {}
        }
        let Answer { status, code, message, retry_after } = answer;
        let (kind, text) = match Call::is_by_target(head) {
            true => (
                format!("Content-Type: application/x-amz-json-1.0\r\nx-amzn-errortype: {code}\r\n"),
                format!(r#"{{"__type":"{code}","message":"{message}"}}"#),
            ),
            false => (
                "Content-Type: application/xml\r\n".to_owned(),
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <Error><Code>{code}</Code><Message>{message}</Message></Error>"
                ),
            ),
        };
        let text = if head.word(0) == "HEAD" { String::new() } else { text };
        let mut headers = format!("{kind}Content-Length: {}\r\n", text.len());
        if let Some(seconds) = retry_after {
            headers += &format!("Retry-After: {seconds}\r\n");
        }
        http::answer(&mut self.client.output, *status, &headers, &text).await?;
        Ok(if unread && waits { Then::Close } else { Then::Again })
    }
}

impl Stop {
    fn then(self) -> Then {
        match self {
            Self::Reset | Self::Stall => Then::Reset,
            Self::Close => Then::Close,
        }
    }
}

/// How a request went.
enum Asked {
    /// There is no answer.
    Stopped(Then),
    /// The head of the answer, and whether the whole request was forwarded.
    Answered(Head, bool),
}

/// A request in progress; its outcome is logged however it ends.
struct Noted {
    shared: Arc<Shared>,
    number: usize,
    outcome: Outcome,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.shared.ends(self.number, self.outcome);
    }
}
