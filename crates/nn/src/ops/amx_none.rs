//! In place of `amx.rs` where there is no such unit.

use super::amx_product::Tile;

pub(super) enum Unit {}

impl Unit {
    pub(super) fn new() -> Option<Self> {
        None
    }

    pub(super) fn multiply(&self, _: &mut [Tile; 4], _: &[Tile], _: &[Tile], _: usize, _: bool) {
        match *self {}
    }

    pub(super) fn split<const P: usize>(&self, _: &[f32], _: &[f32], _: &mut [Tile], _: usize) {
        match *self {}
    }

    pub(super) fn fetch(&self, _: &[f32], _: usize) {
        match *self {}
    }

    pub(super) fn transpose(&self, _: &mut Tile) {
        match *self {}
    }
}
