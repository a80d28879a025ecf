//! Bulk transfer over TCP: how fast do bytes get in and out?
//!
//! A connection to port 5201 begins with nine bytes: `S` (send to me) or `T` (take from me) and a
//! count, big-endian. Byte `i` of what is sent is `i % 251`. What was taken is checked, and
//! answered by eight bytes: how many were right. The rate goes to the console.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

use libos::executor::Executor;
use libos::time::Instant;
use libos::{Environment, println};
use libos_net::{Net, SocketError, Stack, TcpError, TcpListener, TcpStream, explain};

libos::entry!(main);

const PORT: u16 = 5201;
/// Bytes given to the stack at a time: a multiple of the pattern's length.
const PIECE: usize = 251 * 64;

fn main(environment: Environment) -> i32 {
    let listener = match open(&environment) {
        Ok(listener) => listener,
        Err(error) => return explain::failed(&error),
    };
    println!("port {PORT} takes and gives bytes");
    let executor = Executor::new();
    executor.turn(listener.stack().clone());
    executor.block_on(async {
        loop {
            let Ok((stream, _)) = listener.accept_async().await else { continue };
            let task = async move {
                if let Err(why) = serve(&stream).await {
                    println!("{why}");
                }
            };
            if let Err(why) = executor.spawn(task) {
                println!("{why}");
            }
        }
    })
}

fn open(environment: &Environment) -> Result<TcpListener, SocketError> {
    let stack = Stack::new(&Net::new(environment)?);
    TcpListener::bind(&stack, environment.grant("bulk")?, PORT)
}

async fn serve(stream: &TcpStream) -> Result<(), TcpError> {
    let mut order = [0; 9];
    read_exact(stream, &mut order).await?;
    let [what, count @ ..] = order;
    let count = u64::from_be_bytes(count);
    let begin = Instant::now();
    let (verb, done) = match what {
        b'S' => ("sent", send(stream, count).await?),
        b'T' => ("took", take(stream, count).await?),
        _ => return Ok(()),
    };
    let micros = begin.elapsed().as_micros().max(1);
    let rate = u128::from(done) * 8 / micros;
    println!("{verb} {done} bytes in {micros} us: {rate} Mbit/s");
    Ok(())
}

async fn send(stream: &TcpStream, count: u64) -> Result<u64, TcpError> {
    let piece: Vec<u8> = (0..PIECE).map(|i| (i % 251) as u8).collect();
    let mut sent = 0;
    while sent < count {
        // The pattern repeats: where the last write ended decides where this one begins.
        let from = (sent % 251) as usize;
        let most = (count - sent).min((PIECE - from) as u64) as usize;
        let now = piece.get(from..from + most).unwrap_or_default();
        sent += stream.write_async(now).await? as u64;
    }
    stream.flush_async().await?;
    Ok(sent)
}

async fn take(stream: &TcpStream, count: u64) -> Result<u64, TcpError> {
    let mut buffer = vec![0; 16 * 1024];
    let (mut taken, mut right) = (0u64, 0u64);
    while taken < count {
        let length = stream.read_async(&mut buffer).await?;
        if length == 0 {
            break;
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        let same = bytes.iter().zip(taken..).filter(|(byte, i)| u64::from(**byte) == i % 251);
        right += same.count() as u64;
        taken += length as u64;
    }
    stream.write_all_async(&right.to_be_bytes()).await?;
    Ok(right)
}

async fn read_exact(stream: &TcpStream, into: &mut [u8]) -> Result<(), TcpError> {
    let mut at = 0;
    while at < into.len() {
        match stream.read_async(into.get_mut(at..).unwrap_or_default()).await? {
            0 => return Err(TcpError::Reset),
            count => at += count,
        }
    }
    Ok(())
}
