use std::fmt;

use crate::component::Part;

/// A model family: files of one family share layer names and shapes of meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Stable Diffusion 1.x, and models of its layout at other sizes (the demo base).
    #[default]
    Sd1,
    Sd2,
    Sdxl,
    SdxlRefiner,
    /// SSD-1B, Vega, KOALA: SDXL with blocks taken out.
    SdxlPruned,
    Sd3,
    Flux1Dev,
    Flux1Schnell,
    Flux2,
    Chroma,
    ChromaRadiance,
    Lumina2,
    ZImage,
}

impl Family {
    /// The name people use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "the SDXL refiner",
            Self::SdxlPruned => "a pruned SDXL (SSD-1B, Vega or KOALA)",
            Self::Sd3 => "Stable Diffusion 3",
            Self::Flux1Dev => "FLUX.1 dev",
            Self::Flux1Schnell => "FLUX.1 schnell",
            Self::Flux2 => "FLUX.2",
            Self::Chroma => "Chroma",
            Self::ChromaRadiance => "Chroma Radiance",
            Self::Lumina2 => "Lumina 2",
            Self::ZImage => "Z-Image",
        }
    }

    /// The parts that a model of this family is made of, the denoiser first. Empty for families that Lorikeet does not
    /// open.
    pub fn parts(self) -> &'static [Part] {
        use Part::{TextEncoder, TextEncoder2, Transformer, Unet, Vae};
        match self {
            Self::Sd1 | Self::Sd2 => &[Unet, Vae, TextEncoder],
            Self::Sdxl => &[Unet, Vae, TextEncoder, TextEncoder2],
            Self::Flux1Dev | Self::Flux1Schnell => &[Transformer, Vae, TextEncoder, TextEncoder2],
            _ => &[],
        }
    }

    /// Whether [`crate::open_base`] opens it.
    pub fn openable(self) -> bool {
        !self.parts().is_empty()
    }

    /// FLUX.1 in either form.
    pub fn is_flux1(self) -> bool {
        matches!(self, Self::Flux1Dev | Self::Flux1Schnell)
    }

    /// Whether this version of Lorikeet can train it.
    pub fn trainable(self) -> bool {
        self.openable()
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}
