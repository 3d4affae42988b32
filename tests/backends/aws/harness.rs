//! The stand-in server itself: separate accounts, and no leftovers.

use std::net::TcpStream;

use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use testkit::resources;

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let server = Ministack::shared();
    let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
    let name = resources::plain_queue(&a).await;
    let look =
        |config| aws_sdk_sqs::Client::new(config).get_queue_url().queue_name(name.as_str()).send();
    assert!(look(&a).await.is_ok());
    assert!(look(&b).await.is_err());
}

#[test]
fn the_server_ends_with_whoever_started_it() {
    let server = Ministack::start(&[]);
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    drop(server);
    assert!(TcpStream::connect(&address).is_err());
}
