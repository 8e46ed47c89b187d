//! Takes memory until there is none.

use kit::inspector::Inspector;

struct Bomb;

impl Inspector for Bomb {
    fn normalize(_inventory: String) -> Result<String, String> {
        Err(kit::eat_memory().to_string())
    }
}

kit::inspector!(Bomb);
