//! Which programs read an exported LoRA.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use lorikeet_checkpoint::lora::{self, Consumer, check};
use lorikeet_checkpoint::{Dtype, Family};
use support::lora_module as module;

#[test]
fn a_file_is_checked_for_the_programs_that_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let good_for = |path: &Path| -> Vec<Consumer> {
        let checked = check(path).unwrap();
        assert_eq!(checked.modules, 1);
        let good = checked.consumers.into_iter().filter(|(_, problem)| problem.is_none());
        good.map(|(consumer, _)| consumer).collect()
    };
    let unet = [module("unet.mid_block.attentions.0.proj_in", 2, 2.0, &[2, 8], &[8, 2])];
    let kohya = folder.path().join("kohya.safetensors");
    lora::write(&kohya, Family::Sd1, &unet, Dtype::F16, &BTreeMap::new()).unwrap();
    assert_eq!(good_for(&kohya), Consumer::ALL);
    let peft = folder.path().join("peft.safetensors");
    lora::write_peft(&peft, Family::Sd1, &unet, Dtype::F16, &BTreeMap::new()).unwrap();
    assert_eq!(good_for(&peft), [Consumer::Diffusers], "others know kohya's names of UNet layers only");
    std::fs::write(&peft, "no LoRA").unwrap();
    assert!(check(&peft).is_err());
}
