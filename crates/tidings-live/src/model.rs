//! The parts that are easy to get wrong, against a model: the whole log, and what each subscriber's
//! byte stream has carried so far.

mod budget;
mod cluster;
mod feeds;
mod lags;
mod pages;
mod reader;
mod seam;
mod stale;
mod world;
