//! The client over real sockets, against a server that is scripted byte by byte.

mod fake;

mod streams;
mod worker;
