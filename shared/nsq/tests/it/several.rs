//! Several servers behind one consumer: shares, turns, and one bound for all.

use std::{collections::BTreeMap, time::Duration};

use nsq::{Consumer, ConsumerConfig, Message, State, codec::Command};

use crate::{
    server::{FakeServer, Peer, id},
    soon::{self, soon},
};

fn at_most(max_in_flight: usize) -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight,
        ..ConsumerConfig::default()
    }
}

fn subscribe(fakes: &[&FakeServer], config: ConsumerConfig) -> Consumer {
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    let servers = fakes.iter().map(|fake| fake.server());
    Consumer::subscribe_to_all(servers, topic, channel, config)
}

async fn next(consumer: &mut Consumer) -> Message {
    soon("a message", consumer.next()).await.unwrap()
}

/// The next connection, subscribed; its window is still to come.
async fn accept(fake: &FakeServer) -> Peer {
    let mut peer = fake.accept().await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.ok().await;
    peer
}

/// Windows as they come, until this one.
async fn window(peer: &mut Peer, wanted: u32) {
    loop {
        match peer.command().await {
            Command::Ready(window) if window == wanted => return,
            Command::Ready(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn each_has_an_equal_share() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let _consumer = subscribe(&[&fakes[0], &fakes[1]], at_most(7));
    let mut first = accept(&fakes[0]).await;
    let mut second = accept(&fakes[1]).await;
    // Four and three, whichever is first.
    let windows = async {
        let mut windows = BTreeMap::new();
        loop {
            tokio::select! {
                command = first.command() => windows.insert(1, command),
                command = second.command() => windows.insert(2, command),
            };
            let values: Vec<_> = windows.values().collect();
            if [[3, 4], [4, 3]]
                .iter()
                .any(|shares| values == [&Command::Ready(shares[0]), &Command::Ready(shares[1])])
            {
                return;
            }
        }
    };
    soon("equal shares", windows).await;
}

#[tokio::test]
async fn a_share_of_a_lost_server_goes_to_the_other_but_for_what_is_still_held() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let mut consumer = subscribe(&[&fakes[0], &fakes[1]], at_most(4));
    let mut first = accept(&fakes[0]).await;
    let mut second = accept(&fakes[1]).await;
    window(&mut first, 2).await;
    window(&mut second, 2).await;

    first.deliver(1, 1).await;
    first.deliver(2, 1).await;
    let held = next(&mut consumer).await;
    assert_eq!(held.id(), id(1));
    let address = fakes[0].server().address;
    drop((first, fakes));
    window(&mut second, 3).await;
    let nodes = consumer.nodes();
    assert!(matches!(
        nodes.borrow()[&address],
        State::Disconnected { .. }
    ));
    assert!(consumer.state().borrow().is_connected());

    // What came over the lost connection and was not handed out is not handed out.
    second.deliver(3, 1).await;
    let other = next(&mut consumer).await;
    assert_eq!(other.id(), id(3));
    held.finish();
    window(&mut second, 4).await;
    other.finish();
    assert_eq!(second.command().await, Command::Finish(id(3)));
}

#[tokio::test]
async fn the_bound_holds_over_all_of_them() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let mut consumer = subscribe(&[&fakes[0], &fakes[1]], at_most(2));
    let mut first = accept(&fakes[0]).await;
    let mut second = accept(&fakes[1]).await;
    // More than asked for, from both of them.
    for number in 1..=4 {
        first.deliver(number, 1).await;
        second.deliver(10 + number, 1).await;
    }
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    let moment = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(moment, consumer.next()).await.is_err(),
        "a third one"
    );
    held.into_iter().for_each(Message::finish);
    next(&mut consumer).await.finish();
}

#[tokio::test]
async fn with_one_place_they_take_turns_and_never_two_have_it() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let mut consumer = subscribe(&[&fakes[0], &fakes[1]], at_most(1));
    let mut peers = [accept(&fakes[0]).await, accept(&fakes[1]).await];
    let mut holder: Option<usize> = None;
    let mut turns = [0, 0];
    while turns.iter().any(|turns| *turns < 2) {
        let [first, second] = &mut peers;
        let (at, command) = tokio::select! {
            command = first.command() => (0, command),
            command = second.command() => (1, command),
        };
        match command {
            Command::Ready(1) => {
                assert_eq!(holder, None, "both have the place");
                holder = Some(at);
                turns[at] += 1;
                peers[at].deliver(at as u8, 1).await;
                next(&mut consumer).await.finish();
            }
            Command::Ready(0) => {
                assert_eq!(holder, Some(at));
                holder = None;
            }
            Command::Finish(done) => assert_eq!(done, id(at as u8)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failure_at_one_closes_the_windows_of_all_and_one_of_them_tries() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let config = ConsumerConfig {
        backoff: Some(nsq::Backoff {
            initial: Duration::from_millis(300),
            max: Duration::from_secs(1),
        }),
        ..at_most(4)
    };
    let mut consumer = subscribe(&[&fakes[0], &fakes[1]], config);
    let mut first = accept(&fakes[0]).await;
    let mut second = accept(&fakes[1]).await;
    window(&mut first, 2).await;
    window(&mut second, 2).await;
    first.deliver(1, 1).await;
    drop(next(&mut consumer).await);
    window(&mut first, 0).await;
    window(&mut second, 0).await;
    assert!(matches!(first.command().await, Command::Requeue { .. }));

    let tries_first = tokio::select! {
        command = first.command() => {
            assert_eq!(command, Command::Ready(1));
            true
        }
        command = second.command() => {
            assert_eq!(command, Command::Ready(1));
            false
        }
    };
    let trying = if tries_first { &mut first } else { &mut second };
    trying.deliver(2, 1).await;
    next(&mut consumer).await.finish();
    window(trying, 2).await;
    let other = if tries_first { &mut second } else { &mut first };
    window(other, 2).await;
}

#[tokio::test]
async fn closing_drains_all_of_them() {
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    let mut consumer = subscribe(&[&fakes[0], &fakes[1]], at_most(4));
    let mut peers = [accept(&fakes[0]).await, accept(&fakes[1]).await];
    for peer in &mut peers {
        window(peer, 2).await;
        peer.deliver(1, 1).await;
    }
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    let mut state = consumer.state();
    let closing = tokio::spawn(consumer.close());
    for peer in &mut peers {
        assert_eq!(peer.command().await, Command::Close);
        peer.send(nsq::codec::Frame::Response("CLOSE_WAIT".into()))
            .await;
    }
    held.into_iter().for_each(Message::finish);
    for mut peer in peers {
        assert_eq!(peer.command().await, Command::Finish(id(1)));
        assert_eq!(soon("the end", peer.next()).await, None);
    }
    assert_eq!(soon("closing", closing).await.unwrap(), 0);
    soon::state(&mut state, |state| matches!(state, State::Closed)).await;
}
