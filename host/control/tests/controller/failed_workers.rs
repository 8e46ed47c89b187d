//! failed_workers
