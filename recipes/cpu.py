"""Environment variables of trainings and evaluations on a CPU."""

CPU_TRAINING = {
    "VERL_PLATFORM": "cpu",
    "OMP_NUM_THREADS": "2",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_prestart_worker_first_driver": "0",
}
CPU_EVALUATION = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
