//! store_trouble
