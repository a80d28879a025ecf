//! Listeners and streams against a client's stack, over a wire that is good or bad.
#![cfg(test)]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use abi::Handle;
use common::{CLIENT_IP, CLIENT_MAC, Client, Faults, GRANT, IP, MAC, world};
use libos::clock::{NEVER, now_ns};
use libos::errors::{ErrorPage, NetError};
use libos::executor::Executor;
use libos::sys::host;
use sluice_libos_net::limits::HALF_OPEN_MAX;
use sluice_libos_net::{
    ListenOptions, Shutdown, SocketError, Stack, TcpError, TcpListener, TcpStream, UdpSocket,
};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

const PORT: u16 = 80;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}

/// A client that connects, writes, closes its half, and keeps what it reads.
fn talker(what: Vec<u8>, heard: Rc<RefCell<Vec<u8>>>) -> impl FnMut(&mut Client, u64) {
    let mut handle: Option<SocketHandle> = None;
    let mut said = 0;
    move |client, _| {
        let handle = *handle.get_or_insert_with(|| client.connect(4000, PORT));
        let socket = client.tcp(handle);
        if socket.may_send() {
            said += socket.send_slice(&what[said..]).unwrap();
            if said == what.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    heard.borrow_mut().extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
    }
}

#[test]
fn a_connection_is_accepted_read_answered_and_ended() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (world, net, _guard) = world(Faults::default(), talker(b"hello".to_vec(), heard.clone()));
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    assert!(listener.try_accept().is_none());
    let (stream, from) = listener.accept().unwrap();
    assert_eq!(from, (CLIENT_IP, 4000).into());
    assert_eq!(stream.peer_addr(), Some(from));
    assert_eq!(stream.local_addr(), Some((IP, PORT).into()));
    let mut buffer = [0; 64];
    assert_eq!(stream.read(&mut buffer), Ok(5));
    assert_eq!(stream.read(&mut buffer), Ok(0), "the end of what it sends");
    stream.write_all(b"hello to you").unwrap();
    stream.flush().unwrap();
    assert_eq!(*heard.borrow(), b"hello to you");
    stream.shutdown(Shutdown::Write);
    assert_eq!(stream.write(b"more"), Err(TcpError::Closed));
    drop(stream);
    let until = now_ns() + 20_000_000_000;
    while now_ns() < until {
        stack.poll();
        libos::clock::wait(stack.deadline().min(until));
    }
    assert_eq!(stack.deadline(), NEVER, "nothing of the connection is left");
    assert!(world.borrow().waits < 200_000);
}

fn bulk(faults: Faults, length: usize) {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let data = pattern(length);
    let (world, net, _guard) = world(faults, talker(data.clone(), heard.clone()));
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut got = vec![0; length];
    stream.read_exact(&mut got).unwrap();
    assert!(got == data, "what came in is what was sent");
    stream.write_all(&data).unwrap();
    stream.flush().unwrap();
    assert!(*heard.borrow() == data, "what came out is what was written");
    assert!(world.borrow().sent as usize > length / 1460);
}

#[test]
fn bulk_transfer_over_a_good_wire() {
    bulk(Faults::default(), 1 << 20);
}

#[test]
fn bulk_transfer_survives_loss() {
    bulk(Faults { lost: 5, ..Faults::default() }, 200_000);
}

#[test]
fn bulk_transfer_survives_corruption() {
    bulk(Faults { corrupted: 5, ..Faults::default() }, 200_000);
}

#[test]
fn bulk_transfer_survives_doubles_and_mixed_order() {
    bulk(Faults { doubled: 20, late: 20, ..Faults::default() }, 200_000);
}

#[test]
fn bulk_transfer_survives_all_of_it() {
    bulk(Faults { lost: 3, corrupted: 3, doubled: 10, late: 10 }, 100_000);
}

#[test]
fn many_connections_at_once_in_tasks() {
    const CONNECTIONS: u16 = 40;
    let done = Rc::new(Cell::new(0));
    let (handles, count) = (Rc::new(RefCell::new(Vec::new())), done.clone());
    let opened = handles.clone();
    let (world, net, _guard) = world(Faults::default(), move |client, _| {
        let mut handles = opened.borrow_mut();
        if handles.is_empty() {
            handles.extend(
                (0..CONNECTIONS).map(|i| (client.connect(5000 + i, PORT), Vec::new(), false)),
            );
        }
        for (place, (handle, heard, said)) in handles.iter_mut().enumerate() {
            let socket = client.tcp(*handle);
            if socket.may_send() && !*said {
                socket.send_slice(&[place as u8; 100]).unwrap();
                *said = true;
            }
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        heard.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            if heard.len() == 100 {
                assert_eq!(*heard, [place as u8; 100]);
                heard.push(0);
                socket.close();
                count.set(count.get() + 1);
            }
        }
    });
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    let executor = Executor::new();
    executor.turn(stack.clone());
    let inner = executor.clone();
    executor.block_on(async move {
        for _ in 0..CONNECTIONS {
            let (stream, _) = listener.accept_async().await.unwrap();
            inner.spawn(echo(stream)).unwrap();
        }
        while done.get() < CONNECTIONS {
            inner.sleep(core::time::Duration::from_millis(1)).await;
        }
    });
    executor.run();
    assert_eq!(executor.tasks(), 0);
    // The listener is gone; its binding went with the last connection, and only then.
    let until = now_ns() + 40_000_000_000;
    while now_ns() < until {
        stack.poll();
        libos::clock::wait(until);
    }
    assert_eq!(world.borrow().unbound.len(), 1);
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = stream.read_async(&mut buffer).await {
        stream.write_all_async(&buffer[..count]).await.unwrap();
    }
}

#[test]
fn a_full_ring_holds_the_writer_back_and_nothing_is_lost() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (world, net, _guard) = world(Faults::default(), talker(b"go".to_vec(), heard.clone()));
    let stack = Stack::new(&net);
    let options = sluice_libos_net::ListenOptions { tx_pages: 1, ..Default::default() };
    let listener = TcpListener::bind_with(&stack, GRANT, PORT, options).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut go = [0; 2];
    stream.read_exact(&mut go).unwrap();
    world.borrow_mut().stuck = true;
    let data = pattern(60_000);
    let written = stream.write(&data).unwrap();
    assert!(stack.counters().held_back > 0);
    assert_eq!((stack.in_flight(), stack.counters().not_sent), (2, 0));
    let sent = world.borrow().sent;
    stack.poll();
    assert_eq!(world.borrow().sent, sent, "the card takes nothing");
    world.borrow_mut().stuck = false;
    stream.write_all(&data[written..]).unwrap();
    stream.flush().unwrap();
    assert!(*heard.borrow() == data);
    assert_eq!((stack.in_flight(), stack.counters().not_sent), (0, 0));
}

/// A first segment from a port of nobody's.
fn syn(from: u16) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    };
    let tcp = TcpRepr {
        src_port: from,
        dst_port: PORT,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(i32::from(from)),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: [10, 0, 2, 200].into(),
        dst_addr: IP.into(),
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let checks = ChecksumCapabilities::default();
    let mut bytes = vec![0; 20 + tcp.buffer_len()];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &checks);
    let mut packet = TcpPacket::new_unchecked(&mut bytes[20..]);
    tcp.emit(&mut packet, &ip.src_addr.into(), &ip.dst_addr.into(), &checks);
    [&MAC[..], &CLIENT_MAC, &[8, 0], &bytes].concat()
}

#[test]
fn a_flood_of_first_segments_costs_the_flood() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (world, net, _guard) = world(Faults::default(), talker(b"real".to_vec(), heard));
    // Nobody has said where the flood comes from: its answers go to the client's station.
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    for round in 0..10u16 {
        world.borrow_mut().raw = (0..100).map(|i| syn(10_000 + round * 100 + i)).collect();
        libos::clock::wait(now_ns() + 1);
        stack.poll();
    }
    assert!(listener.given_up() >= 1000 - HALF_OPEN_MAX as u64 - 10, "{}", listener.given_up());
    let (stream, from) = listener.accept().unwrap();
    assert_eq!(from, (CLIENT_IP, 4000).into());
    let mut buffer = [0; 4];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"real");
}

#[test]
fn resets_and_silence_are_errors_with_names() {
    let handle: Rc<Cell<Option<SocketHandle>>> = Rc::default();
    let (ours, abort) = (handle.clone(), Rc::new(Cell::new(false)));
    let now = abort.clone();
    let (_world, net, _guard) = world(Faults::default(), move |client, _| {
        let handle = ours.get().unwrap_or_else(|| client.connect(4000, PORT));
        ours.set(Some(handle));
        if now.take() {
            client.tcp(handle).abort();
        }
    });
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_timeout(5_000_000);
    let mut buffer = [0; 8];
    assert_eq!(stream.read(&mut buffer), Err(TcpError::TimedOut));
    abort.set(true);
    assert_eq!(stream.read(&mut buffer), Err(TcpError::Reset));
    assert_eq!(stream.write(b"x"), Err(TcpError::Reset));
    assert_eq!(stream.peer_addr(), None);
    let nobody = TcpListener::bind(&stack, GRANT, 0).map(|_| ());
    assert_eq!(nobody, Err(SocketError::Stack { doing: "the port" }));
}

#[test]
fn connections_of_our_own() {
    let listening: Rc<Cell<Option<SocketHandle>>> = Rc::default();
    let inner = listening.clone();
    let (_world, net, _guard) = world(Faults { lost: 5, ..Faults::default() }, move |client, _| {
        let handle = inner.get().unwrap_or_else(|| client.listen(9000));
        inner.set(Some(handle));
        let socket = client.tcp(handle);
        if socket.can_recv() {
            let mut buffer = [0; 100];
            let count = socket.recv_slice(&mut buffer).unwrap();
            socket.send_slice(&buffer[..count]).unwrap();
        }
        assert_ne!(socket.state(), State::Closed);
    });
    let stack = Stack::new(&net);
    let deadline = 60_000_000_000;
    let stream =
        TcpStream::connect(&stack, GRANT, 50_000, (CLIENT_IP, 9000).into(), deadline).unwrap();
    stream.write_all(b"there and back").unwrap();
    let mut back = [0; 14];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"there and back");
    let refused = TcpStream::connect(&stack, GRANT, 50_001, (CLIENT_IP, 9).into(), deadline);
    assert_eq!(
        refused.map(|_| ()).unwrap_err().to_string(),
        "the stack refused the connection: nobody listens there"
    );
    let soon = now_ns() + 3_000_000_000;
    let silent = TcpStream::connect(&stack, GRANT, 50_002, ([10, 0, 2, 2], 9).into(), soon);
    assert!(silent.map(|_| ()).unwrap_err().to_string().contains("nobody answers"));
}

#[test]
fn noise_on_the_wire_ends_nothing() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (world, net, _guard) = world(Faults::default(), talker(b"still".to_vec(), heard));
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, PORT).unwrap();
    let good = syn(1234);
    let mut state = 5u64;
    for _ in 0..300 {
        let mut frames = Vec::new();
        for _ in 0..30 {
            let mut frame = good.clone();
            for _ in 0..1 + state % 5 {
                state =
                    state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                let place = 14 + (state >> 33) as usize % (frame.len() - 14);
                frame[place] = (state >> 20) as u8;
            }
            let cut = 14 + (state >> 45) as usize % (frame.len() - 13);
            frame.truncate(if state.is_multiple_of(3) { cut } else { frame.len() });
            frames.push(frame);
        }
        // Past the filter: the stack itself must stand it.
        let mut world = world.borrow_mut();
        for frame in frames {
            let (_, _, peer) = &mut world.rings[0];
            peer.deliver(&frame);
        }
        drop(world);
        stack.poll();
    }
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"still");
}

/// One connection after the other, each ended by the client when it has its answer.
fn callers(done: Rc<Cell<u16>>) -> impl FnMut(&mut Client, u64) {
    let mut calling: Option<SocketHandle> = None;
    move |client, _| {
        let handle = *calling.get_or_insert_with(|| client.connect(6000 + done.get(), PORT));
        let socket = client.tcp(handle);
        if socket.can_recv() {
            let mut buffer = [0; 100];
            assert_eq!(socket.recv_slice(&mut buffer), Ok(5));
            socket.close();
        }
        if socket.state() == State::TimeWait {
            done.set(done.get() + 1);
            calling = None;
        }
    }
}

#[test]
fn a_connection_is_carved_out_of_its_listener() {
    let done = Rc::new(Cell::new(0));
    let (world, net, _guard) = world(Faults::default(), callers(done.clone()));
    let stack = Stack::new(&net);
    let options = ListenOptions { carve: true, ..ListenOptions::default() };
    let listener = TcpListener::bind_with(&stack, GRANT, PORT, options).unwrap();
    let mut pages = 0;
    for round in 0..10 {
        let (stream, _) = listener.accept().unwrap();
        let filters =
            world.borrow().rings.iter().filter(|(_, filter, _)| !filter.is_empty()).count();
        assert_eq!(filters, 2, "the listener's, and the connection's");
        let (listens, carved) =
            (world.borrow().rings[0].1.clone(), world.borrow().rings[1].1.clone());
        assert!(carved.len() > listens.len(), "more tests than the listener's");
        // What comes to the listener fills the listener's ring alone.
        world.borrow_mut().raw = (0..200).map(|i| syn(20_000 + i)).collect();
        stream.write_all(b"hello").unwrap();
        assert_eq!(stream.read(&mut [0; 8]), Ok(0));
        drop(stream);
        while done.get() == round {
            stack.poll();
            libos::clock::wait(now_ns() + 1_000_000);
        }
        stack.poll();
        assert_eq!((world.borrow().rings.len(), listener.not_carved()), (1, 0), "given back");
        if round == 0 {
            pages = world.borrow().pages;
        }
    }
    assert_eq!(world.borrow().pages, pages, "memory of rings is used again");
    world.borrow_mut().refuse_carving = true;
    let (stream, _) = listener.accept().unwrap();
    stream.write_all(b"hello").unwrap();
    assert_eq!(stream.read(&mut [0; 8]), Ok(0));
    assert_eq!(listener.not_carved(), 1);
}

#[test]
fn what_icmp_says_ends_only_a_connection_that_does_not_stand() {
    let page = ErrorPage::new(host::page_window(Handle(71))).unwrap();
    let (published, listening) = (page.clone(), Rc::new(Cell::new(None)));
    let error = |local, to: u16| NetError {
        protocol: 6,
        kind: (3, 1),
        local,
        remote: (CLIENT_IP, to).into(),
        mtu: 0,
    };
    let (_world, net, _guard) = world(Faults::default(), move |client, now| {
        let handle = listening.get().unwrap_or_else(|| client.listen(9000));
        listening.set(Some(handle));
        let socket = client.tcp(handle);
        if socket.can_recv() {
            let count = socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap();
            socket.send_slice(&[1; 8][..count]).unwrap();
        }
        if now.is_multiple_of(5_000_000) {
            published.publish(&error(50_001, 9000));
            published.publish(&error(50_002, 4444));
            published.publish(&error(50_003, 9001));
        }
    });
    let stack = Stack::new(&net.with_errors(page));
    let there = |port: u16| std::net::SocketAddr::from((CLIENT_IP, port));
    let stream = TcpStream::connect(&stack, GRANT, 50_001, there(9000), NEVER).unwrap();
    libos::time::sleep(core::time::Duration::from_millis(20));
    stream.write_all(b"still").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    // Nobody answers from there; what is said about another connection does not matter.
    let nowhere = std::net::SocketAddr::from(([10, 0, 2, 2], 4444));
    let deadline = now_ns() + 50_000_000;
    let silent = TcpStream::connect(&stack, GRANT, 50_002, nowhere, deadline).map(|_| ());
    assert!(matches!(silent, Err(SocketError::Stack { .. })), "{silent:?}");
    let mut udp = UdpSocket::open(&stack, GRANT, 50_003).unwrap();
    assert_eq!(udp.take_error(), None, "TCP's");
}
