//! One program for all tests of the crate: linking several takes longer than running them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod buckets;
mod captions;
mod common;
mod doctor;
mod edit;
mod epoch;
mod facts;
mod folders;
mod masks;
mod pixels;
mod scan;
mod thumbnails;
