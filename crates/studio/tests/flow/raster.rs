//! Draws what egui tessellates, without a graphics driver: the same pixels on every machine but for the last bits of floating
//! point. Only for pictures that are compared; the window itself is drawn by OpenGL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use egui::epaint::{ImageData, Mesh, Primitive, Vertex};
use egui::{Color32, ColorImage, Context, FullOutput, Rect, TextureId, TexturesDelta};
use egui_kittest::TestRenderer;
use image::{Rgb, RgbImage};

/// Textures as egui hands them over.
#[derive(Clone, Default)]
pub(crate) struct Raster(Arc<Mutex<HashMap<TextureId, ColorImage>>>);

impl TestRenderer for Raster {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        let mut textures = self.0.lock().unwrap();
        for (id, changes) in &delta.set {
            for change in changes {
                let ImageData::Color(image) = &change.image;
                match (change.pos, textures.get_mut(id)) {
                    (Some(at), Some(texture)) => patch(texture, image, at),
                    _ => drop(textures.insert(*id, (**image).clone())),
                }
            }
        }
        for id in &delta.free {
            textures.remove(id);
        }
        delta.clear();
    }
}

fn patch(texture: &mut ColorImage, image: &ColorImage, [left, top]: [usize; 2]) {
    for y in 0..image.height() {
        for x in 0..image.width() {
            texture[(left + x, top + y)] = image[(x, y)];
        }
    }
}

impl Raster {
    /// The last frame, at one pixel for each point.
    pub(crate) fn draw(&self, ctx: &Context, output: &FullOutput, [width, height]: [u32; 2]) -> RgbImage {
        let textures = self.0.lock().unwrap();
        let mut picture = RgbImage::new(width, height);
        for part in ctx.tessellate(output.shapes.clone(), 1.0) {
            if let Primitive::Mesh(mesh) = &part.primitive
                && let Some(texture) = textures.get(&mesh.texture_id)
            {
                draw_mesh(&mut picture, mesh, texture, part.clip_rect);
            }
        }
        picture
    }
}

fn draw_mesh(picture: &mut RgbImage, mesh: &Mesh, texture: &ColorImage, clip: Rect) {
    for corners in mesh.indices.chunks_exact(3) {
        let corner = |at: usize| mesh.vertices[corners[at] as usize];
        draw_triangle(picture, [corner(0), corner(1), corner(2)], texture, clip);
    }
}

/// Parts of a pixel that corners are rounded to, so that triangles which share an edge agree on whose pixel is whose.
const GRID: i64 = 256;

fn draw_triangle(picture: &mut RgbImage, mut corners: [Vertex; 3], texture: &ColorImage, clip: Rect) {
    let snap = |vertex: &Vertex| {
        let on_grid = |value: f32| (f64::from(value) * GRID as f64).round() as i64;
        [on_grid(vertex.pos.x), on_grid(vertex.pos.y)]
    };
    let mut points = corners.each_ref().map(snap);
    let area = |a: [i64; 2], b: [i64; 2], p: [i64; 2]| (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
    let mut whole = area(points[0], points[1], points[2]);
    if whole == 0 {
        return;
    }
    if whole < 0 {
        points.swap(1, 2);
        corners.swap(1, 2);
        whole = -whole;
    }
    let span = |axis: usize, low: f32, high: f32, size: u32| {
        let inside = |value: f32| (value.round().max(0.0) as i64).min(i64::from(size));
        let (least, most) = (points.map(|p| p[axis]).into_iter().min(), points.map(|p| p[axis]).into_iter().max());
        let first = least.unwrap_or(0).div_euclid(GRID).max(inside(low));
        let last = (most.unwrap_or(0).div_euclid(GRID) + 1).min(inside(high));
        first..last
    };
    // Of an edge that two triangles share, the pixels on it belong to the one that has it at its top or left.
    let owns = |a: [i64; 2], b: [i64; 2]| b[1] < a[1] || (b[1] == a[1] && b[0] > a[0]);
    for y in span(1, clip.min.y, clip.max.y, picture.height()) {
        for x in span(0, clip.min.x, clip.max.x, picture.width()) {
            let at = [x * GRID + GRID / 2, y * GRID + GRID / 2];
            let mut shares = [0.0_f32; 3];
            let inside = (0..3).all(|corner| {
                let (a, b) = (points[(corner + 1) % 3], points[(corner + 2) % 3]);
                let share = area(a, b, at);
                shares[corner] = share as f32 / whole as f32;
                share > 0 || (share == 0 && owns(a, b))
            });
            if inside {
                blend(picture.get_pixel_mut(x as u32, y as u32), shade(&corners, shares, texture));
            }
        }
    }
}

/// Colour with premultiplied alpha, each from 0 to 1, as egui's own shaders compute it.
fn shade(corners: &[Vertex; 3], shares: [f32; 3], texture: &ColorImage) -> [f32; 4] {
    let mix = |of: &dyn Fn(&Vertex) -> f32| (0..3).map(|at| of(&corners[at]) * shares[at]).sum::<f32>();
    let texel = sample(texture, mix(&|v| v.uv.x), mix(&|v| v.uv.y));
    std::array::from_fn(|channel| mix(&|v| f32::from(v.color.to_array()[channel]) / 255.0) * texel[channel])
}

fn sample(texture: &ColorImage, u: f32, v: f32) -> [f32; 4] {
    let (x, y) = (u * texture.width() as f32 - 0.5, v * texture.height() as f32 - 0.5);
    let texel = |x: f32, y: f32| -> [u8; 4] {
        let inside = |value: f32, size: usize| (value.max(0.0) as usize).min(size - 1);
        let colour: Color32 = texture[(inside(x, texture.width()), inside(y, texture.height()))];
        colour.to_array()
    };
    let (left, top) = (x.floor(), y.floor());
    let (right_share, low_share) = (x - left, y - top);
    let near = [texel(left, top), texel(left + 1.0, top), texel(left, top + 1.0), texel(left + 1.0, top + 1.0)];
    std::array::from_fn(|channel| {
        let of = |at: usize| f32::from(near[at][channel]) / 255.0;
        let upper = of(0) + (of(1) - of(0)) * right_share;
        let lower = of(2) + (of(3) - of(2)) * right_share;
        upper + (lower - upper) * low_share
    })
}

fn blend(below: &mut Rgb<u8>, above: [f32; 4]) {
    for channel in 0..3 {
        let value = above[channel] * 255.0 + f32::from(below[channel]) * (1.0 - above[3]);
        below[channel] = value.round().clamp(0.0, 255.0) as u8;
    }
}
