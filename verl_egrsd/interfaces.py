"""The interfaces of verl and TransferQueue that this package uses, and the names that it adds to them."""

from __future__ import annotations

PROBES = {
    "verl.trainer.ppo.v1.trainer_base": """
        PPOTrainer._init_resource_pool_mgr(self)
        PPOTrainer._init_tokenizer(self)
        PPOTrainer._init_dataloader(self)
        PPOTrainer._balance_batch(self, batch, metrics)
        PPOTrainer._compute_advantage(self, batch, metrics)
        PPOTrainer._update_actor(self, batch, metrics)
        PPOTrainer._save_checkpoint(self)
        PPOTrainer._load_checkpoint(self)
        PPOTrainer._validate(self)
        PPOTrainer._val_metrics_update(self, data_sources, sample_uids, reward_extra_infos_dict)
        PPOTrainer.init(self)
        PPOTrainer._setup(self)
        PPOTrainer.on_step_begin(self)
        PPOTrainer.get_reward_handles(self)
        PPOTrainer.fit(self, agent_loop_manager)
        PPOTrainer._compute_metrics(batch, metrics, global_steps)
        PPOTrainer._compute_old_log_prob(self, batch, metrics)
        PPOTrainer._consume_sync_metrics(self)
    """,
    "verl.experimental.reward_loop.reward_manager": "get_reward_manager_cls(name)",
    "verl.experimental.reward_loop.reward_manager.naive": """
        NaiveRewardManager(config, tokenizer, compute_score)
    """,
    "verl.experimental.reward_loop.reward_manager.dapo": """
        DAPORewardManager(config, tokenizer, compute_score)
    """,
    "verl.trainer.ppo.v1": """
        AgentLoopManagerTQ(args, kwargs)
        register_trainer(name)
    """,
    "verl.trainer.ppo.v1.agent_loop_tq": """
        AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__.generate_sequences(batch)
        AgentLoopWorkerTQ
    """,
    "verl.experimental.agent_loop": "AgentLoopWorker._run_agent_loop(self, sampling_params, trajectory)",
    "transfer_queue.interface": "_TQ_STORAGE",
    "verl.trainer.ppo.v1.trainer_sync": """
        PPOTrainerSync(config)
        PPOTrainerSync.on_init_end(self)
        PPOTrainerSync.on_step_end(self)
    """,
    "verl.workers.engine_workers": """
        ActorRolloutRefWorker.init_model(self)
        ActorRolloutRefWorker.compute_log_prob(self, data)
        TrainingWorker.infer_batch(self, data)
        ActorRolloutRefWorker.update_actor(self, data)
        TrainingWorker.set_loss_fn(self, loss_fn)
        ActorRolloutRefWorker.update_weights(self, global_steps)
    """,
    "verl.workers.engine.fsdp.transformer_impl": """
        FSDPEngineWithLMHead.get_per_tensor_param(self, layered_summon, base_sync_done)
        FSDPEngineWithLMHead._merged_lora_per_tensor_param(self)
        FSDPEngineWithLMHead._build_module(self)
        FSDPEngineWithLMHead._build_fsdp_module(self, module)
        FSDPEngineWithLMHead.prepare_model_inputs(self, micro_batch)
        FSDPEngineWithLMHead.forward_step(self, micro_batch, loss_function, forward_only)
    """,
    "verl.workers.engine.fsdp.utils": "unfuse_moe_params(weights, model_type)",
    "verl.utils.fsdp_utils": """
        normalize_peft_param_name(params)
        offload_fsdp_model_to_cpu(model)
    """,
    "verl.utils.model": "convert_weight_keys(state_dict, model)",
    "verl.utils.device": """
        is_support_ipc
        auto_set_device(config)
        get_device_id
        get_device_name
    """,
    "verl.workers.engine.base": "EngineRegistry.register(model_type, backend, device, vendor)",
    "verl.utils.metric": """
        Metric(aggregation, value)
        AggregationType.SUM
    """,
    "verl.workers.engine.utils": """
        prepare_micro_batches(data, dp_group)
        postprocess_batch_func(output_lst, indices, data)
    """,
    "verl.utils.seqlen_balancing": """
        calculate_workload(seqlen_list)
        get_seqlen_balanced_partitions(seqlen_list, k_partitions, equal_size)
    """,
    "verl.trainer.ppo.core_algos": """
        register_adv_est(name_or_enum)
        agg_loss(loss_mat, loss_mask, loss_agg_mode)
        compute_policy_loss_vanilla(old_log_prob, log_prob, advantages)
        ADV_ESTIMATOR_REGISTRY
        register_policy_loss(name)
    """,
    "verl.utils.import_utils": "load_extern_object(module_path, object_name)",
    "verl.utils.dataset.rl_dataset": """
        RLHFDataset.maybe_filter_out_long_prompts(self, dataframe)
        RLHFDataset.__getitem__(self, item)
        get_dataset_class(data_config)
    """,
    "verl.workers.utils.padding": """
        response_from_nested(tensor, response_mask)
        response_to_nested(tensor, response_mask)
    """,
    "transfer_queue": """
        kv_batch_get(keys, partition_id, select_fields)
        kv_batch_put(keys, partition_id, fields)
        kv_clear(keys, partition_id)
        KVBatchMeta.select_keys(self, keys_to_select)
        init(conf)
        close
        KVBatchMeta(keys, tags, partition_id, extra_info)
    """,
    "verl.trainer.main_ppo": """
        TaskRunnerV1
        run_ppo(config, task_runner_class)
    """,
    "verl.trainer.ppo.utils": """
        need_critic(config)
        need_reference_policy(config)
        Role.ActorRollout
        Role.ActorRolloutRef
    """,
    "verl.utils.config": """
        omega_conf_to_dataclass(config)
        validate_config(config, use_reference_policy, use_critic)
    """,
    "verl.utils.debug": "marked_timer(name, timing_raw, color)",
    "verl.utils.distributed": "initialize_global_process_group_ray(backend)",
    "verl.utils.profiler": "DistProfiler.annotate(color)",
    "verl.utils.tensordict_utils": """
        assign_non_tensor(kwargs)
        get(tensordict, key, default)
        get_tensordict(tensor_dict, non_tensor_dict)
        pop(tensordict, key, default)
    """,
    "verl.utils.tracking": "Tracking.supported_backend",
    "verl.single_controller.base.decorator": """
        register(dispatch_mode)
        Dispatch.ONE_TO_ALL
        make_nd_compute_dataproto_dispatch_fn(mesh_name)
    """,
    "verl.models.transformers.monkey_patch": """
        patch_forward_with_backends(model, use_fused_kernels, fused_kernels_backend)
    """,
    "verl.workers.rollout.base": "_ROLLOUT_REGISTRY",
    "verl.plugin.platform.platform_base": """
        PlatformBase
        PlatformBase.is_platform_available(self, use_smi_check)
    """,
    "verl.plugin.platform.platform_manager": "PlatformRegistry.register(platform)",
}
"""By module: names, and the parameters that we pass or override; none for constants and whole classes."""

SFT_PROBES = {
    "verl.trainer.sft_trainer": """
        SFTTrainer(config)
        SFTTrainer._build_dataset(self)
        SFTTrainer._build_dataloader(self)
        SFTTrainer._build_ckpt_handler(self)
        SFTTrainer._init_engine(self)
        SFTTrainer._get_batch_seqlens(self, data)
        SFTTrainer._get_lora_train_meta(self)
        SFTTrainer.fit(self)
    """,
    "verl.utils.checkpoint": """
        CheckpointHandler(engine, train_dataloader, default_local_dir, max_ckpt_to_keep)
        CheckpointHandler(default_hdfs_dir, resume_mode, resume_from_path, lora_train_meta)
        CheckpointHandler.save_checkpoint(self, step)
        CheckpointHandler._load_dataloader_state(self, checkpoint_path)
    """,
    "verl.utils.distributed": "initialize_global_process_group",
}
"""The same of supervised training, whose module sets variables of the process when it is imported."""

OPTIONAL = {"verl.utils.kernel.linear_cross_entropy"}
"""Modules whose absence is no error: verl's fused head on a GPU, which competes with ours at start."""

ADDED: tuple[tuple[str, str, str], ...] = (
    (
        "verl.workers.engine_workers",
        "ActorRolloutRefWorker",
        "compute_teacher_log_prob refresh_teacher save_teacher load_teacher sync_metrics hold_teacher "
        "restart_teacher teacher_in_engine teacher teacher_weights adapter_off kernel use_divergence "
        "distillation distilled divergence_of keeps_student _held _prepare_stream _require_plain_logits "
        "_steered _teacher_batch _teacher_head _whole_head",
    ),
    (
        "verl.trainer.ppo.v1.trainer_base",
        "PPOTrainer",
        "method start held advantage_step context step_report end_token_ids report teacher_config "
        "hidden_bytes watchdog processes agent_loop_workers _know_width _count_hidden "
        "_compute_teacher_log_prob _ending _save_last _give_up _without_refused _all_scores _alone "
        "_dump_rollouts _engine_tokens_per_gpu _last_line _let_steps_decide _save_and_mark _score_some "
        "_warn_of _what_died",
    ),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead",
        "divergence teacher_head own_forward rollout_dtype update_share _causal_model _own_forward _rows_of",
    ),
    (
        "verl.utils.dataset.rl_dataset",
        "RLHFDataset",
        "context checks dropped all_rows _fields _keeps _kept_tokens _lengths _longest _marked _overlong "
        "_read _report _shares _spelled _with_other_solution _with_partners",
    ),
    (
        "verl.trainer.ppo.v1.agent_loop_tq",
        "AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__",
        "failed failures",
    ),
)
"""Module, class, and the names that this package adds to it: in verl they would mean something else."""

SFT_ADDED: tuple[tuple[str, str, str], ...] = (
    ("verl.trainer.sft_trainer", "SFTTrainer", "start report seen _end _list_left_out _read_log"),
    ("verl.utils.checkpoint", "CheckpointHandler", "config start _write_state"),
)
"""The same of supervised training."""
