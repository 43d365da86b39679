//! Scenario folders, expectations, the runner, and the model as an engine.
