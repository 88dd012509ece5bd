//! Pictures of the window as small files: a palette instead of three bytes a pixel.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use eframe::egui::ColorImage;

type Rgb = [u8; 3];

/// Colours with how often each is there.
type Group = Vec<(Rgb, usize)>;

/// Writes a PNG of at most 256 colours: those of a median cut, without dithering, which packs badly and which flat areas
/// do not need.
pub(crate) fn write(picture: &ColorImage, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let pixels: Vec<Rgb> = picture.pixels.iter().map(|pixel| [pixel.r(), pixel.g(), pixel.b()]).collect();
    let mut counts: HashMap<Rgb, usize> = HashMap::new();
    for pixel in &pixels {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut colours: Group = counts.into_iter().collect();
    // So that the same picture gives the same file.
    colours.sort_unstable();
    let groups = cut(colours);
    let palette: Vec<u8> = groups.iter().flat_map(|group| mean(group)).collect();
    let places: HashMap<Rgb, u8> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.iter().map(move |(colour, _)| (*colour, at as u8)))
        .collect();
    let indices: Vec<u8> = pixels.iter().map(|pixel| places[pixel]).collect();

    let [width, height] = picture.size.map(|side| side as u32);
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&indices)?;
    Ok(())
}

/// Cuts the group that looks least like one colour in two, until there are 256.
fn cut(colours: Group) -> Vec<Group> {
    let mut groups = vec![colours];
    while groups.len() < 256 {
        let worst = (0..groups.len()).max_by_key(|at| badness(&groups[*at])).unwrap_or(0);
        if badness(&groups[worst]) == 0 {
            break;
        }
        let mut group = groups.swap_remove(worst);
        let channel = longest(&group).0;
        group.sort_by_key(|(colour, _)| colour[channel]);
        let half = group.iter().map(|(_, count)| count).sum::<usize>() / 2;
        let mut seen = 0;
        let middle = group.iter().position(|(_, count)| {
            seen += count;
            seen > half
        });
        let rest = group.split_off(middle.unwrap_or(1).clamp(1, group.len() - 1));
        groups.extend([group, rest]);
    }
    groups
}

/// The channel that differs most, and by how much.
fn longest(group: &[(Rgb, usize)]) -> (usize, u8) {
    let range = |channel: usize| {
        let values = group.iter().map(|(colour, _)| colour[channel]);
        let (least, most) = values.fold((u8::MAX, 0), |(least, most), value| (least.min(value), most.max(value)));
        most.saturating_sub(least)
    };
    (0..3).map(|channel| (channel, range(channel))).max_by_key(|(_, range)| *range).unwrap_or((0, 0))
}

/// Few pixels of a colour far off are seen as well as many of one that is close.
fn badness(group: &[(Rgb, usize)]) -> u64 {
    let count = group.iter().map(|(_, count)| *count as f64).sum::<f64>();
    let range = f64::from(longest(group).1);
    (range * range * count.sqrt()) as u64
}

fn mean(group: &[(Rgb, usize)]) -> Rgb {
    let count: usize = group.iter().map(|(_, count)| count).sum();
    [0, 1, 2].map(|channel| {
        let sum: usize = group.iter().map(|(colour, count)| usize::from(colour[channel]) * count).sum();
        ((sum + count / 2) / count.max(1)) as u8
    })
}
