//! Reading safetensors files, good and damaged.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use lorikeet_checkpoint::{CheckpointError, Dtype, SafetensorsFile, TensorData, write_safetensors};
use safetensors::tensor::{SafeTensors, TensorView};
use support::{numbers, tensor, with_header};

fn refusal(path: &Path) -> String {
    SafetensorsFile::open(path).unwrap_err().to_string()
}

#[test]
fn the_reference_reader_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.safetensors");
    let halves = [0u8, 60, 0, 62];
    let tensors = [
        TensorData::raw("z.half", Dtype::F16, &[2], &halves),
        tensor("b", &[2, 3]),
        tensor("a", &[]),
        TensorData::f32("empty", &[0, 4], &[]),
    ];
    let metadata = BTreeMap::from([("title".to_owned(), "Ünï \"quoted\" 猫\n".to_owned())]);
    write_safetensors(&path, &tensors, &metadata).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), 4);
    let b = reference.tensor("b").unwrap();
    assert_eq!((b.dtype(), b.shape()), (safetensors::Dtype::F32, &[2, 3][..]));
    assert_eq!(b.data(), &*tensors[1].bytes);
    assert_eq!(reference.tensor("z.half").unwrap().data(), halves);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["title"], metadata["title"]);

    let ours = SafetensorsFile::open(&path).unwrap();
    assert_eq!(ours.names().collect::<Vec<_>>(), ["a", "b", "empty", "z.half"]);
    assert_eq!(ours.f32("b").unwrap(), numbers("b", 6));
    assert_eq!(ours.f32("z.half").unwrap(), [1.0, 1.5]);
    assert_eq!(ours.metadata(), &metadata);
}

#[test]
fn we_read_what_the_reference_writer_writes_in_the_same_layout() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u8> = numbers("x", 6).iter().flat_map(|v| v.to_le_bytes()).collect();
    let views = || {
        [
            ("y.low", TensorView::new(safetensors::Dtype::BF16, vec![2], &values[..4]).unwrap()),
            ("x", TensorView::new(safetensors::Dtype::F32, vec![3, 2], &values).unwrap()),
            ("a.low", TensorView::new(safetensors::Dtype::F16, vec![2, 1], &values[4..8]).unwrap()),
        ]
    };
    let path = folder.path().join("reference.safetensors");
    std::fs::write(&path, safetensors::serialize(views(), None).unwrap()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.f32("x").unwrap(), numbers("x", 6));
    assert_eq!(file.shape("a.low"), Some(&[2, 1][..]));

    let tensors = [
        TensorData::raw("a.low", Dtype::F16, &[2, 1], &values[4..8]),
        TensorData::raw("x", Dtype::F32, &[3, 2], &values),
        TensorData::raw("y.low", Dtype::Bf16, &[2], &values[..4]),
    ];
    let ours = folder.path().join("ours.safetensors");
    write_safetensors(&ours, &tensors, &BTreeMap::new()).unwrap();
    let ours = SafetensorsFile::open(&ours).unwrap();
    // F16 and BF16 share a width; the reference puts BF16 first, we go by name alone within a width.
    assert_eq!(ours.f32("x").unwrap(), file.f32("x").unwrap());
    assert_eq!(ours.bytes("y.low").unwrap(), file.bytes("y.low").unwrap());
}

#[test]
fn what_is_not_there_and_what_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("none.safetensors")).contains("no file or folder"));
    assert!(refusal(folder.path()).contains("is a folder, not a file"));
}

#[test]
fn files_that_are_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty.safetensors", b"", "empty file (0 bytes)"),
        ("short.safetensors", b"abc", "a text file"),
        ("page.safetensors", b"<!DOCTYPE html><html><title>Sign in</title>", "a web page"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        ("m.ckpt", b"PK\x03\x04\0\0archive/data.pkl\x80\x02", "a pickled PyTorch checkpoint"),
        ("m.gguf", b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0", "a GGUF file"),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = refusal(&path);
        assert!(message.contains(expected) && message.contains(name), "{message}");
    }
}

#[test]
fn lengths_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.safetensors");
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{\"a\": 1}");
    std::fs::write(&path, &bytes).unwrap();
    assert!(refusal(&path).contains("its first bytes are damaged"));

    bytes[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    assert!(refusal(&path).contains("its first bytes are damaged"));

    bytes[..8].copy_from_slice(&1000u64.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let message = refusal(&path);
    assert!(message.contains("cut short") && message.contains("1008") && message.contains("16"), "{message}");
}

#[test]
fn every_cut_of_a_good_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.safetensors");
    write_safetensors(&path, &[tensor("a", &[3]), tensor("b", &[2, 2])], &BTreeMap::new()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = SafetensorsFile::open(&path).unwrap_err();
        if length > 8 {
            assert!(matches!(error, CheckpointError::Truncated { .. }), "{length}: {error}");
        }
    }
}

#[test]
fn damaged_headers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.safetensors");
    let cases = [
        (r#"{"a": "#, "is damaged"),
        (r#"{"a":{"dtype":"F32","shape":[1]}}"#, "tensor 'a'"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, "tensor 'a'"),
        (r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, "its type 'F31' is not known"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "needs 8 bytes"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, "bytes 4 to 0"),
        (r#"{"a":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, "is not possible"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}}"#, "needs 4"),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551608,18446744073709551612]}}"#,
            "cut short",
        ),
        (r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, "cut short"),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
            "shares bytes with tensor 'a'",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            "'a' is listed twice",
        ),
    ];
    for (header, expected) in cases {
        with_header(&path, header, 8);
        let message = refusal(&path);
        assert!(message.contains(expected), "{header}: {message}");
    }
}

#[test]
fn gaps_padding_and_odd_metadata_are_let_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.safetensors");
    let header = r#"{"__metadata__":{"epoch":3,"name":"x"},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}   "#;
    with_header(&path, header, 12);
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.f32("a").unwrap(), [0.0]);
    assert_eq!(file.metadata()["epoch"], "3");
    assert_eq!(file.metadata()["name"], "x");
}

#[test]
fn a_missing_tensor_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Bärenmodell mit Leerzeichen 熊.safetensors");
    write_safetensors(&path, &[tensor("a", &[1])], &BTreeMap::new()).unwrap();
    let message = SafetensorsFile::open(&path).unwrap().f32("conv_in.weight").unwrap_err().to_string();
    assert!(message.contains("conv_in.weight") && message.contains("Leerzeichen 熊"), "{message}");
}

/// KiB of the mapped file that are in this process, as Linux tells.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let ours = maps.split_once(path.to_str().unwrap()).unwrap().1;
    let line = ours.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn pages_that_are_let_go_of_leave_the_process_and_come_back_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    let values: Vec<f32> = (0..1 << 20).map(|n| n as f32).collect();
    let tensors = ["a", "b"].map(|name| TensorData::f32(name, &[1 << 20], &values));
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    for name in ["a", "b"] {
        assert_eq!(file.f32(name).unwrap(), values);
    }
    let both = resident(&path);
    assert!(both >= 8192, "{both} KiB of two tensors of 4096");
    file.let_go("a");
    let one = resident(&path);
    assert!((4096..4096 + 64).contains(&one), "{one} KiB");
    assert_eq!(file.f32("a").unwrap(), values);
}

#[test]
fn a_file_that_was_written_to_is_told_and_one_that_took_its_name_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    write_safetensors(&path, &[tensor("a", &[64])], &BTreeMap::new()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    file.unchanged().unwrap();
    // Saving puts another file in its place; the open one is as it was.
    write_safetensors(&path, &[tensor("b", &[64])], &BTreeMap::new()).unwrap();
    file.unchanged().unwrap();

    let file = SafetensorsFile::open(&path).unwrap();
    let longer = std::fs::OpenOptions::new().append(true).open(&path);
    std::io::Write::write_all(&mut longer.unwrap(), b"more").unwrap();
    let error = file.unchanged().unwrap_err().to_string();
    assert!(error.contains("was changed while it was in use") && error.contains("base.safetensors"), "{error}");
}
