//! Pure rules of a farm: entities, state machines, matching
