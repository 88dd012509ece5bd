//! `sample`.

use std::path::Path;

use lorikeet_protocol::{BaseParts, DrawRequest, LoraUse, ToDraw};
use lorikeet_recipe::{Precision, Sampler};

use crate::args::SampleArgs;
use crate::face::Progress;
use crate::follow::Terminal;
use crate::trouble::Trouble;

pub(crate) fn sample(args: &SampleArgs) -> Result<(), Trouble> {
    let loras = args.loras.iter().map(|text| lora(text)).collect::<Result<Vec<_>, _>>()?;
    let sampler = args.sampler.as_deref().map(sampler).transpose()?;
    let picture = |prompt: &String| ToDraw {
        prompt: prompt.clone(),
        negative: args.negative.clone(),
        loras: loras.clone(),
        seed: args.seed,
        width: args.width,
        height: args.height,
        steps: args.steps,
        cfg: args.cfg,
        guidance: args.guidance,
        sampler,
    };
    let request = DrawRequest {
        base: args.base.clone(),
        parts: BaseParts {
            vae: args.vae.clone(),
            text_encoder: args.text_encoder.clone(),
            text_encoder_2: args.text_encoder_2.clone(),
        },
        device: args.device.clone(),
        precision: if args.precision == "f32" { Precision::F32 } else { Precision::Auto },
        pictures: args.prompts.iter().map(picture).collect(),
        out_dir: args.out.clone(),
        set: 0,
        noise_out: args.noise_out.clone(),
    };
    let mut terminal = Terminal::new(Box::new(Progress::new()));
    let pictures = lorikeet_trainer::draw(&request, &mut terminal).map_err(|error| error.failure())?;
    pictures.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

fn sampler(name: &str) -> Result<Sampler, Trouble> {
    match name {
        "euler" => Ok(Sampler::Euler),
        "euler_a" => Ok(Sampler::EulerA),
        "dpmpp_2m" => Ok(Sampler::DpmPp2m),
        "ddim" => Ok(Sampler::Ddim),
        _ => {
            let why = format!("there is no sampler '{name}'");
            Err(Trouble::usage("--sampler cannot be understood", why, "Write euler, euler_a, dpmpp_2m or ddim"))
        }
    }
}

/// `PATH` or `PATH:STRENGTH`. A colon that no number follows belongs to the path.
fn lora(text: &str) -> Result<LoraUse, Trouble> {
    let (path, strength) = match text.rsplit_once(':').map(|(path, number)| (path, number.trim().parse::<f32>())) {
        Some((path, Ok(strength))) if strength.is_finite() => (Path::new(path), strength),
        _ => (Path::new(text), 1.0),
    };
    if !path.is_file() && !path.join("adapter.safetensors").is_file() {
        let why = format!("there is no such file, and no such folder of a save: {}", path.display());
        return Err(Trouble::failed("A LoRA cannot be used", why, "Write --lora PATH or --lora PATH:STRENGTH"));
    }
    Ok(LoraUse { path: path.to_owned(), strength, name: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_may_have_a_strength() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b.safetensors");
        std::fs::write(&file, "").unwrap();
        let text = file.to_str().unwrap();
        let with = |strength| LoraUse { path: file.clone(), strength, name: String::new() };
        assert_eq!(lora(text).unwrap(), with(1.0));
        assert_eq!(lora(&format!("{text}:0.7")).unwrap(), with(0.7));
        assert_eq!(lora(&format!("{text}:-1")).unwrap(), with(-1.0));
        assert!(lora(&format!("{text}:much")).unwrap_err().to_string().contains("no such file"));
        // The folder of a save.
        let save = folder.path().join("step-000050");
        std::fs::create_dir(&save).unwrap();
        std::fs::write(save.join("adapter.safetensors"), "").unwrap();
        assert_eq!(lora(&format!("{}:0.5", save.display())).unwrap().path, save);
    }

    #[test]
    fn samplers_have_the_names_of_recipes() {
        assert_eq!(sampler("dpmpp_2m").unwrap(), Sampler::DpmPp2m);
        assert!(sampler("best").unwrap_err().to_string().contains("best"));
    }
}
