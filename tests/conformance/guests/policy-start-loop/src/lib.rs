//! Never ends starting.

use kit::policy::Policy;

struct Loop;

impl Policy for Loop {
    fn init(_config: String) -> Result<(), String> {
        kit::forever()
    }
}

kit::policy!(Loop);
