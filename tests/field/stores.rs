//! Headers, calls and answers that a store does not know, or gives in its own way.
