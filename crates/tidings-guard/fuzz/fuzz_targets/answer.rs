//! Any datagram from a name server: no panic, and no more than its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| tidings_guard::fuzzing::read_answer(datagram));
