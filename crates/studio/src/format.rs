//! Numbers for people: one way to write each, everywhere in the studio. The words beside them are in `texts`.

use crate::texts::units;

/// `1,240`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1,240 of 2,000`.
pub fn count_of(done: u64, total: u64) -> String {
    units::of(&count(done), &count(total))
}

/// `# picture` and `# pictures` become `1 picture` or `24 pictures`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    let text = if n == 1 { one } else { many };
    text.replace('#', &count(n))
}

/// `25 %`, of a part between 0 and 1.
pub fn percent(part: f64) -> String {
    format!("{:.0} %", (part * 100.0).round())
}

/// `212 of 450 W`, or `212 W`.
pub fn watts(now: f32, limit: Option<f32>) -> String {
    let now = format!("{now:.0}");
    units::watts(&limit.map_or(now.clone(), |limit| units::of(&now, &format!("{limit:.0}"))))
}

/// `640 × 480`.
pub fn size(width: u32, height: u32) -> String {
    format!("{width} × {height}")
}

/// `640 × 480 px`.
pub fn pixels(width: u32, height: u32) -> String {
    units::pixels(&size(width, height))
}

/// `45 s`, `10 min`, `1 h 20 min`, `2 d 3 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "—".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => units::seconds(whole),
        60..3600 => units::minutes((whole + 30) / 60),
        3600..86_400 => {
            let minutes = (whole + 30) / 60;
            match minutes % 60 {
                0 => units::hours(minutes / 60),
                rest => units::hours_minutes(minutes / 60, rest),
            }
        }
        _ => match (whole % 86_400) / 3600 {
            0 => units::days(whole / 86_400),
            hours => units::days_hours(whole / 86_400, hours),
        },
    }
}

/// `10 min left`.
pub fn time_left(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return String::new();
    }
    if seconds < 1.0 {
        return units::ALMOST_DONE.to_owned();
    }
    units::left(&duration(seconds))
}

/// `2 h ago`.
pub fn ago(seconds: f64) -> String {
    if seconds < 60.0 { units::JUST_NOW.to_owned() } else { units::ago(&duration(seconds)) }
}

/// `1.9 it/s`, or `4.2 s/it` when a step takes longer than a second. Empty when nothing is known.
pub fn pace(seconds_per_step: f64) -> String {
    if !seconds_per_step.is_finite() || seconds_per_step <= 0.0 {
        String::new()
    } else if seconds_per_step <= 1.0 {
        units::steps_a_second(&short(1.0 / seconds_per_step))
    } else {
        units::seconds_a_step(&short(seconds_per_step))
    }
}

/// `9.3 GB`, `37 MB`: binary units under the names that graphics cards are sold by.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < units::BYTES.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", if unit == 0 { format!("{value:.0}") } else { short(value) }, units::BYTES[unit])
}

/// `37 MB/s`.
pub fn bytes_a_second(a_second: f64) -> String {
    units::a_second(&bytes(a_second as u64))
}

/// `9.3 of 24 GB`, or `130 MB of 16 GB`.
pub fn memory_of(used: u64, total: u64) -> String {
    if total == 0 {
        return bytes(used);
    }
    let mut unit = 1.0;
    let mut name = units::BYTES[0];
    for next in &units::BYTES[1..] {
        if total as f64 / unit < 1023.5 {
            break;
        }
        unit *= 1024.0;
        name = next;
    }
    let total = format!("{} {name}", short(total as f64 / unit));
    // Less than one of the unit would lose its digits.
    if (used as f64) < 0.95 * unit {
        return units::of(&bytes(used), &total);
    }
    units::of(&short(used as f64 / unit), &total)
}

/// Four significant digits: `0.08231`.
pub fn loss(value: f32) -> String {
    if !value.is_finite() {
        return units::NOT_A_NUMBER.to_owned();
    }
    significant(f64::from(value), 4)
}

/// `1.0e-4`.
pub fn learning_rate(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

/// `-23 %`, `+4 %`: how far `value` is from `reference`.
pub fn change(value: f32, reference: f32) -> Option<String> {
    if !(value.is_finite() && reference.is_finite() && reference > 0.0) {
        return None;
    }
    let percent = (f64::from(value) / f64::from(reference) - 1.0) * 100.0;
    let whole = percent.round();
    Some(if whole == 0.0 {
        "0 %".to_owned()
    } else if whole < 0.0 {
        format!("−{:.0} %", -whole)
    } else {
        format!("+{whole:.0} %")
    })
}

/// `8.8 M`: how many numbers a model has.
pub fn parameters(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.0} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.2} G", count as f64 / 1e9),
    }
}

/// A number without needless digits: `0.5`, `16`, `1e-8`.
pub fn plain(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e7) {
        let text = format!("{value:.3e}");
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let digits = digits.trim_end_matches('0').trim_end_matches('.');
                format!("{digits}e{exponent}")
            }
            None => text,
        }
    } else {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// One decimal below ten, none above; no `.0`.
fn short(value: f64) -> String {
    if value >= 9.95 {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
    }
}

fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude < -4 {
        return format!("{value:.*e}", (digits - 1).max(0) as usize);
    }
    format!("{value:.*}", (digits - 1 - magnitude).max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_240), "1,240");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count_of(1_240, 2_000), "1,240 of 2,000");
        assert_eq!(plural(1, "# picture", "# pictures"), "1 picture");
        assert_eq!(plural(0, "# picture", "# pictures"), "0 pictures");
    }

    #[test]
    fn times_use_the_unit_one_would_say() {
        assert_eq!(time_left(0.2), "almost done");
        assert_eq!(time_left(45.2), "45 s left");
        assert_eq!(time_left(59.6), "1 min left");
        assert_eq!(time_left(600.0), "10 min left");
        assert_eq!(duration(4_800.0), "1 h 20 min");
        assert_eq!(duration(7_199.0), "2 h");
        assert_eq!(duration(86_400.0 * 2.0 + 3.0 * 3600.0), "2 d 3 h");
        assert_eq!(time_left(f64::NAN), "");
        assert_eq!(ago(59.0), "just now");
        assert_eq!(ago(7_200.0), "2 h ago");
        assert_eq!(duration(f64::INFINITY), "—");
    }

    #[test]
    fn pace_turns_over_at_one_second() {
        assert_eq!(pace(1.0 / 1.9), "1.9 it/s");
        assert_eq!(pace(0.02), "50 it/s");
        assert_eq!(pace(4.21), "4.2 s/it");
        assert_eq!(pace(0.0), "");
    }

    #[test]
    fn memory_is_told_in_the_unit_of_the_total() {
        const GB: u64 = 1 << 30;
        assert_eq!(memory_of(GB * 93 / 10, 24 * GB), "9.3 of 24 GB");
        assert_eq!(memory_of(GB / 2, 8 * GB), "512 MB of 8 GB");
        assert_eq!(memory_of(2 * GB, 0), "2 GB");
        assert_eq!(bytes(37 << 20), "37 MB");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(GB - 1), "1 GB");
    }

    #[test]
    fn losses_have_four_significant_digits() {
        assert_eq!(loss(0.082_314), "0.08231");
        assert_eq!(loss(1.234_56), "1.235");
        assert_eq!(loss(123.456), "123.5");
        assert_eq!(loss(0.000_012_34), "1.234e-5");
        assert_eq!(loss(f32::NAN), "not a number");
    }

    #[test]
    fn rates_and_plain_numbers_are_short() {
        assert_eq!(learning_rate(1e-4), "1.0e-4");
        assert_eq!(learning_rate(0.0), "0");
        assert_eq!(plain(16.0), "16");
        assert_eq!(plain(0.05), "0.05");
        assert_eq!(plain(1e-8), "1e-8");
        assert_eq!(plain(2.5e-4), "2.5e-4");
        assert_eq!(parameters(8_800_000), "8.8 M");
        assert_eq!(parameters(412_000), "412 k");
        assert_eq!(percent(0.254), "25 %");
        assert_eq!(pixels(640, 480), "640 × 480 px");
    }

    #[test]
    fn change_is_relative_to_the_reference() {
        assert_eq!(change(0.08, 0.1).as_deref(), Some("−20 %"));
        assert_eq!(change(0.11, 0.1).as_deref(), Some("+10 %"));
        assert_eq!(change(0.1, 0.1).as_deref(), Some("0 %"));
        assert_eq!(change(0.1, 0.0), None);
    }
}
