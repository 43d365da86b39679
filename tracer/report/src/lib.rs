//! What a walk is told as: text, JSON.
