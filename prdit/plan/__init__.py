"""What a run would take, before it runs: `prdit plan`. No step of the workflow depends on it."""
