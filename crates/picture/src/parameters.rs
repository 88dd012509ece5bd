//! Settings as a line of text, as AUTOMATIC1111 writes it and others read it.

use lorikeet_protocol::PictureSettings;
use lorikeet_recipe::Sampler;

/// The `parameters` of a picture.
pub fn parameters(settings: &PictureSettings, program: &str) -> String {
    let mut text = settings.prompt.clone();
    for lora in &settings.loras {
        text.push_str(&format!(" <lora:{}:{}>", lora.name, lora.strength));
    }
    if !settings.negative.is_empty() {
        text.push_str(&format!("\nNegative prompt: {}", settings.negative));
    }
    let sampler = match settings.sampler {
        Some(Sampler::Euler) | None => "Euler",
        Some(Sampler::EulerA) => "Euler a",
        Some(Sampler::DpmPp2m) => "DPM++ 2M",
        Some(Sampler::Ddim) => "DDIM",
    };
    text.push_str(&format!(
        "\nSteps: {}, Sampler: {sampler}, CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}",
        settings.steps, settings.cfg, settings.seed, settings.width, settings.height, settings.base,
    ));
    if let Some(guidance) = settings.guidance {
        // Forge's spelling.
        text.push_str(&format!(", Distilled CFG Scale: {guidance}"));
    }
    if let Some(step) = settings.step {
        text.push_str(&format!(", Training step: {step}"));
    }
    text.push_str(&format!(", Version: {program}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lorikeet_protocol::UsedLora;

    #[test]
    fn parameters_read_as_other_programs_write_them() {
        let settings = PictureSettings {
            prompt: "red apple".to_owned(),
            negative: "blurry".to_owned(),
            base: "demo".to_owned(),
            loras: vec![UsedLora { name: "ink".to_owned(), strength: 0.75 }],
            seed: 42,
            width: 64,
            height: 32,
            steps: 20,
            cfg: 3.0,
            guidance: Some(3.5),
            sampler: Some(Sampler::EulerA),
            step: Some(50),
            ..Default::default()
        };
        assert_eq!(
            parameters(&settings, "lorikeet/1"),
            "red apple <lora:ink:0.75>\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 3, Seed: 42, \
             Size: 64x32, Model: demo, Distilled CFG Scale: 3.5, Training step: 50, Version: lorikeet/1"
        );
    }
}
