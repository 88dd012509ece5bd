//! NVIDIA's management library, loaded while the program runs: the driver brings it. Without it there are no readings.

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::{Device, Nvml};

use lorikeet_nn::DeviceKind;
use lorikeet_protocol::{CardLoad, CardMemory};

/// Readings of the card that a run computes on.
pub(super) struct CardReader {
    library: Option<Nvml>,
    kind: DeviceKind,
    /// How the environment has CUDA number its devices.
    numbering: Numbering,
}

#[derive(Debug, Default)]
struct Numbering {
    /// `CUDA_VISIBLE_DEVICES`.
    visible: Option<String>,
    /// `CUDA_DEVICE_ORDER` is that of the library, by place on the bus.
    by_bus: bool,
}

impl Numbering {
    fn of_this_process() -> Numbering {
        let text = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let by_bus = text("CUDA_DEVICE_ORDER").is_some_and(|order| order == "PCI_BUS_ID");
        Numbering { visible: text("CUDA_VISIBLE_DEVICES"), by_bus }
    }
}

/// What tells cards apart.
#[derive(Clone, Debug, Default)]
struct Identity {
    name: String,
    uuid: String,
    /// Numbers of the processes that use it, with their memory there where the driver tells it.
    processes: Vec<(u32, Option<u64>)>,
}

impl CardReader {
    pub(super) fn new(kind: DeviceKind) -> CardReader {
        let library = if kind == DeviceKind::Cpu { None } else { Nvml::init().ok() };
        CardReader { library, kind, numbering: Numbering::of_this_process() }
    }

    pub(super) fn read(&mut self) -> Option<CardLoad> {
        let library = self.library.as_ref()?;
        let count = library.device_count().ok()?;
        let cards: Vec<Device<'_>> = (0..count).map_while(|index| library.device_by_index(index).ok()).collect();
        let identities: Vec<Identity> = cards.iter().map(identity).collect();
        let own = std::process::id();
        // Looked for each time: the run's process uses its card only once something is on it.
        let at = which(self.kind, own, &self.numbering, &identities)?;
        Some(load(cards.get(at)?, identities.get(at)?, own))
    }
}

fn identity(card: &Device<'_>) -> Identity {
    let lists = [card.running_compute_processes(), card.running_graphics_processes()];
    let processes = lists.into_iter().flatten().flatten().map(|process| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => (process.pid, Some(bytes)),
        UsedGpuMemory::Unavailable => (process.pid, None),
    });
    Identity {
        name: card.name().unwrap_or_default(),
        uuid: card.uuid().unwrap_or_default(),
        processes: processes.collect(),
    }
}

fn load(card: &Device<'_>, identity: &Identity, own: u32) -> CardLoad {
    let watts = |milliwatts: u32| milliwatts as f32 / 1000.0;
    let memory = card.memory_info().ok().map(|memory| CardMemory {
        total: memory.total,
        used: memory.used,
        own: identity.processes.iter().find(|(process, _)| *process == own).and_then(|(_, bytes)| *bytes),
    });
    CardLoad {
        name: identity.name.clone(),
        busy: card.utilization_rates().ok().map(|rates| (rates.gpu as f32 / 100.0).min(1.0)),
        memory,
        celsius: card.temperature(TemperatureSensor::Gpu).ok(),
        watts: card.power_usage().ok().map(watts),
        watts_limit: card.enforced_power_limit().ok().map(watts),
    }
}

/// The place of the run's card in the library's list, if that is certain: the readings of another card would mislead.
fn which(kind: DeviceKind, own: u32, numbering: &Numbering, cards: &[Identity]) -> Option<usize> {
    if let Some(at) = cards.iter().position(|card| card.processes.iter().any(|(process, _)| *process == own)) {
        return Some(at);
    }
    // Vulkan numbers the cards of all makers. Processes may not show, in a container or on Windows.
    let DeviceKind::Cuda(index) = kind else { return None };
    let alike = cards.iter().all(|card| card.name == cards[0].name);
    let in_order = (alike || numbering.by_bus).then_some(cards.len());
    let at = match &numbering.visible {
        None => index,
        Some(visible) => {
            let entry = visible.split(',').map(str::trim).nth(index)?;
            if let Some(at) = cards.iter().position(|card| !entry.is_empty() && card.uuid.starts_with(entry)) {
                return Some(at);
            }
            entry.parse().ok()?
        }
    };
    in_order.filter(|count| at < *count).map(|_| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 7;

    fn card(name: &str, uuid: &str, processes: &[u32]) -> Identity {
        let processes = processes.iter().map(|process| (*process, None)).collect();
        Identity { name: name.to_owned(), uuid: uuid.to_owned(), processes }
    }

    fn on(index: usize, visible: Option<&str>, by_bus: bool, cards: &[Identity]) -> Option<usize> {
        let numbering = Numbering { visible: visible.map(str::to_owned), by_bus };
        which(DeviceKind::Cuda(index), OWN, &numbering, cards)
    }

    #[test]
    fn the_card_is_the_one_that_this_process_uses() {
        let cards = [card("small", "GPU-a", &[1]), card("large", "GPU-b", &[2, OWN])];
        assert_eq!(on(0, None, true, &cards), Some(1), "whatever its number is");
        assert_eq!(which(DeviceKind::Vulkan(0), OWN, &Numbering::default(), &cards), Some(1));
        assert_eq!(which(DeviceKind::Vulkan(0), 8, &Numbering::default(), &cards), None);
        assert_eq!(on(0, None, false, &[]), None);
    }

    #[test]
    fn numbers_count_only_where_they_are_those_of_the_library() {
        let alike = [card("one", "GPU-a", &[]), card("one", "GPU-b", &[])];
        let unlike = [card("small", "GPU-a", &[]), card("large", "GPU-b", &[])];
        assert_eq!(on(1, None, false, &alike), Some(1));
        assert_eq!(on(1, None, false, &unlike), None, "CUDA puts the fastest first");
        assert_eq!(on(1, None, true, &unlike), Some(1));
        assert_eq!(on(2, None, false, &alike), None);
        assert_eq!(on(0, Some("1"), false, &alike), Some(1));
        assert_eq!(on(0, Some("GPU-b"), false, &unlike), Some(1));
        assert_eq!(on(1, Some("1"), true, &alike), None, "there is no second one to see");
        assert_eq!(on(0, Some("MIG-1"), true, &alike), None);
    }

    #[test]
    fn a_run_on_the_processor_asks_no_card() {
        assert_eq!(CardReader::new(DeviceKind::Cpu).read(), None);
    }
}
