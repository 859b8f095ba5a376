-- The tables of version 1 and a sweep in them, as that version wrote them: one trial scored, one paused, one waiting.
-- It runs on sqlite and on PostgreSQL; {counting} is a number that counts up by itself.

CREATE TABLE heldout (
    data_digest VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    "values" JSON NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (data_digest, n)
);

CREATE TABLE lease (
    sweep VARCHAR NOT NULL,
    epoch INTEGER NOT NULL,
    host VARCHAR NOT NULL,
    pid INTEGER NOT NULL,
    "user" VARCHAR NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (sweep)
);

CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE sweep (
    name VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    facts JSON NOT NULL,
    spec JSON NOT NULL,
    state VARCHAR NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE trial (
    id VARCHAR NOT NULL,
    config TEXT NOT NULL,
    data_digest VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    diverged_images BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE attempt (
    trial_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    sweep VARCHAR NOT NULL,
    target_images BIGINT NOT NULL,
    lane VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    pid INTEGER NOT NULL,
    images BIGINT NOT NULL,
    step BIGINT NOT NULL,
    images_per_second DOUBLE PRECISION,
    loss DOUBLE PRECISION,
    checkpoint TEXT,
    checkpoint_images BIGINT,
    outcome VARCHAR,
    cause VARCHAR,
    detail TEXT,
    first_bad_step BIGINT,
    started_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    PRIMARY KEY (trial_id, number),
    FOREIGN KEY(trial_id) REFERENCES trial (id),
    FOREIGN KEY(sweep) REFERENCES sweep (name)
);

CREATE INDEX attempt_sweep ON attempt (sweep);

CREATE TABLE entry (
    sweep VARCHAR NOT NULL,
    "key" VARCHAR NOT NULL,
    stage INTEGER NOT NULL,
    position INTEGER NOT NULL,
    arm JSON NOT NULL,
    seed BIGINT NOT NULL,
    trial_id VARCHAR NOT NULL,
    images BIGINT NOT NULL,
    evaluation_id VARCHAR NOT NULL,
    evaluation TEXT NOT NULL,
    rungs JSON NOT NULL,
    origin VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    attempt INTEGER,
    cached BOOLEAN NOT NULL,
    superseded BOOLEAN NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (sweep, "key"),
    FOREIGN KEY(sweep) REFERENCES sweep (name),
    FOREIGN KEY(trial_id) REFERENCES trial (id)
);

CREATE INDEX entry_score ON entry (trial_id, images, evaluation_id);

CREATE TABLE event (
    id {counting},
    sweep VARCHAR NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    kind VARCHAR NOT NULL,
    trial_id VARCHAR,
    attempt INTEGER,
    sequence INTEGER,
    data JSON NOT NULL,
    UNIQUE (trial_id, attempt, sequence),
    FOREIGN KEY(sweep) REFERENCES sweep (name)
);

CREATE INDEX event_order ON event (sweep, id);

CREATE TABLE cost (
    trial_id VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (trial_id, attempt, kind),
    FOREIGN KEY(trial_id, attempt) REFERENCES attempt (trial_id, number)
);

CREATE TABLE decision (
    trial_id VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    images BIGINT NOT NULL,
    verdict VARCHAR NOT NULL,
    reason TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (trial_id, attempt, sequence),
    FOREIGN KEY(trial_id, attempt) REFERENCES attempt (trial_id, number)
);

CREATE TABLE rung_value (
    trial_id VARCHAR NOT NULL,
    images BIGINT NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    attempt INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (trial_id, images, metric),
    FOREIGN KEY(trial_id, attempt) REFERENCES attempt (trial_id, number)
);

CREATE TABLE score (
    trial_id VARCHAR NOT NULL,
    images BIGINT NOT NULL,
    evaluation_id VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    "values" JSON NOT NULL,
    grid TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    code_version VARCHAR NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (trial_id, images, evaluation_id),
    FOREIGN KEY(trial_id, attempt) REFERENCES attempt (trial_id, number)
);

INSERT INTO heldout ("data_digest", "n", "values", "created_at") VALUES
    ('dddddddddddd', 64, '{"fd_efflite0_96": 90.0}', 1000.0);

INSERT INTO lease ("sweep", "epoch", "host", "pid", "user", "started_at", "expires_at") VALUES
    ('mine', 1, 'elsewhere', 7, 'alice', 1000.0, 0.0);

INSERT INTO schema_version ("version", "created_at") VALUES
    (1, 1000.0);

INSERT INTO sweep ("name", "fingerprint", "facts", "spec", "state", "created_at", "updated_at") VALUES
    ('mine', 'f1', '{"baseline": {"model": {"width": 32, "depth": 2}, "batch_size": 48}, "data": {"digest": "dddddddddddd", "flip": true}, "objective": "fd_efflite0_96", "evaluation": {"n": 64, "steps": 10}}', '{"name": "mine"}', 'running', 1000.0, 1000.0);

INSERT INTO trial ("id", "config", "data_digest", "attempts", "diverged_images", "created_at") VALUES
    ('84176bfebae9', '{"model":{"patch_size":16,"width":32,"depth":2,"heads":2,"embedding":{"kind":"bottleneck","dim":128},"norm":"rms","mlp":"swiglu","mlp_ratio":4.0,"rope":true,"qk_norm":true,"position":"sincos","class_tokens":0,"class_tokens_start":4,"dropout":0.0,"output_skip":"none"},"diffusion":{"prediction":"x","loss":"v","t_sampling":{"kind":"logit_normal","mu":-0.8,"sigma":0.8},"t_eps_train":0.05,"noise_scale":1.0,"label_drop":0.1},"optimiser":{"learning_rate":0.001,"scale_with_batch":false,"schedule":{"kind":"constant"},"beta1":0.9,"beta2":0.95,"weight_decay":0.0,"warmup_images":0,"grad_clip":null},"ema":[{"name":"ema","warmup":true,"kind":"decay","decay":0.9999}],"batch_size":48,"precision":"bf16","attention":"sdpa","compile":false,"parent":null,"data":{"digest":"dddddddddddd","image_size":32,"channels":3,"num_classes":4,"flip":true},"seed":0,"device":"cpu"}', 'dddddddddddd', 1, NULL, 1000.0),
    ('0eb8048b3edf', '{"model":{"patch_size":16,"width":32,"depth":2,"heads":2,"embedding":{"kind":"bottleneck","dim":128},"norm":"rms","mlp":"swiglu","mlp_ratio":4.0,"rope":true,"qk_norm":true,"position":"sincos","class_tokens":0,"class_tokens_start":4,"dropout":0.0,"output_skip":"none"},"diffusion":{"prediction":"x","loss":"v","t_sampling":{"kind":"logit_normal","mu":-0.8,"sigma":0.8},"t_eps_train":0.05,"noise_scale":1.0,"label_drop":0.1},"optimiser":{"learning_rate":0.001,"scale_with_batch":false,"schedule":{"kind":"constant"},"beta1":0.9,"beta2":0.95,"weight_decay":0.0,"warmup_images":0,"grad_clip":null},"ema":[{"name":"ema","warmup":true,"kind":"decay","decay":0.9999}],"batch_size":48,"precision":"bf16","attention":"sdpa","compile":false,"parent":null,"data":{"digest":"dddddddddddd","image_size":32,"channels":3,"num_classes":4,"flip":true},"seed":1,"device":"cpu"}', 'dddddddddddd', 1, NULL, 1000.0),
    ('fc6f2716f3f1', '{"model":{"patch_size":16,"width":32,"depth":2,"heads":2,"embedding":{"kind":"bottleneck","dim":128},"norm":"rms","mlp":"swiglu","mlp_ratio":4.0,"rope":true,"qk_norm":true,"position":"sincos","class_tokens":0,"class_tokens_start":4,"dropout":0.0,"output_skip":"none"},"diffusion":{"prediction":"x","loss":"v","t_sampling":{"kind":"logit_normal","mu":-0.8,"sigma":0.8},"t_eps_train":0.05,"noise_scale":1.0,"label_drop":0.1},"optimiser":{"learning_rate":0.002,"scale_with_batch":false,"schedule":{"kind":"constant"},"beta1":0.9,"beta2":0.95,"weight_decay":0.0,"warmup_images":0,"grad_clip":null},"ema":[{"name":"ema","warmup":true,"kind":"decay","decay":0.9999}],"batch_size":48,"precision":"bf16","attention":"sdpa","compile":false,"parent":null,"data":{"digest":"dddddddddddd","image_size":32,"channels":3,"num_classes":4,"flip":true},"seed":0,"device":"cpu"}', 'dddddddddddd', 0, NULL, 1000.0);

INSERT INTO attempt ("trial_id", "number", "sweep", "target_images", "lane", "host", "pid", "images", "step", "images_per_second", "loss", "checkpoint", "checkpoint_images", "outcome", "cause", "detail", "first_bad_step", "started_at", "updated_at", "ended_at") VALUES
    ('84176bfebae9', 1, 'mine', 960, 'lane-0', 'node', 11, 960, 0, NULL, NULL, 'file:///c/960', 960, 'done', NULL, '', NULL, 1000.0, 1000.0, 1000.0),
    ('0eb8048b3edf', 1, 'mine', 960, 'lane-0', 'node', 11, 480, 0, NULL, NULL, 'file:///c/480', 480, 'paused', NULL, 'it paused', NULL, 1000.0, 1000.0, 1000.0);

INSERT INTO entry ("sweep", "key", "stage", "position", "arm", "seed", "trial_id", "images", "evaluation_id", "evaluation", "rungs", "origin", "state", "attempt", "cached", "superseded", "updated_at") VALUES
    ('mine', '0:84176bfebae9:72bdec72c30f:960', 0, 0, '{"learning_rate": 0.001}', 0, '84176bfebae9', 960, '72bdec72c30f', '{"n":64,"sampler":"heun","steps":10,"guidance":1.0,"interval":[0.1,1.0],"shift":1.0,"seed":0,"t_eps_sample":0.05,"weights":"ema"}', '[480, 960]', 'grid', 'done', 1, false, false, 1000.0),
    ('mine', '0:0eb8048b3edf:72bdec72c30f:960', 0, 1, '{"learning_rate": 0.001}', 1, '0eb8048b3edf', 960, '72bdec72c30f', '{"n":64,"sampler":"heun","steps":10,"guidance":1.0,"interval":[0.1,1.0],"shift":1.0,"seed":0,"t_eps_sample":0.05,"weights":"ema"}', '[480, 960]', 'grid', 'paused', 1, false, false, 1000.0),
    ('mine', '0:fc6f2716f3f1:72bdec72c30f:960', 0, 2, '{"learning_rate": 0.002}', 0, 'fc6f2716f3f1', 960, '72bdec72c30f', '{"n":64,"sampler":"heun","steps":10,"guidance":1.0,"interval":[0.1,1.0],"shift":1.0,"seed":0,"t_eps_sample":0.05,"weights":"ema"}', '[480, 960]', 'grid', 'waiting', NULL, false, false, 1000.0);

INSERT INTO event ("sweep", "at", "kind", "trial_id", "attempt", "sequence", "data") VALUES
    ('mine', 1000.0, 'registered', NULL, NULL, NULL, '{"fingerprint": "f1"}'),
    ('mine', 1000.0, 'entries_added', NULL, NULL, NULL, '{"count": 3}'),
    ('mine', 1000.0, 'begun', '84176bfebae9', 1, NULL, '{"lane": "lane-0", "host": "node", "pid": 11, "target_images": 960, "images": 0}'),
    ('mine', 1000.0, 'rung', '84176bfebae9', 1, 0, '{"kind": "rung", "images": 480, "values": {"heldout_v_error": 0.5}, "decision": {"verdict": "go_on", "reason": "no scheduler: every trial goes on past 480 images"}}'),
    ('mine', 1000.0, 'committed', '84176bfebae9', 1, 1, '{"kind": "committed", "images": 960, "uri": "file:///c/960"}'),
    ('mine', 1000.0, 'scored', '84176bfebae9', 1, 2, '{"kind": "scored", "images": 960, "evaluation": "72bdec72c30f", "n": 64, "values": {"fd_efflite0_96": 1200.5}, "heldout": {"fd_efflite0_96": 90.0}, "grid": "file:///grid.png"}'),
    ('mine', 1000.0, 'ended', '84176bfebae9', 1, 3, '{"kind": "ended", "images": 960, "outcome": "done", "cause": "", "first_bad_step": null, "bad_t": [], "grad_norm": null, "train_s": 10.0, "evaluation_s": 2.0, "checkpoint_s": 1.0}'),
    ('mine', 1000.0, 'begun', '0eb8048b3edf', 1, NULL, '{"lane": "lane-0", "host": "node", "pid": 11, "target_images": 960, "images": 0}'),
    ('mine', 1000.0, 'committed', '0eb8048b3edf', 1, 0, '{"kind": "committed", "images": 480, "uri": "file:///c/480"}'),
    ('mine', 1000.0, 'ended', '0eb8048b3edf', 1, 1, '{"kind": "ended", "images": 480, "outcome": "paused", "cause": "it paused", "first_bad_step": null, "bad_t": [], "grad_norm": null, "train_s": 10.0, "evaluation_s": 2.0, "checkpoint_s": 1.0}');

INSERT INTO cost ("trial_id", "attempt", "kind", "seconds") VALUES
    ('84176bfebae9', 1, 'train', 10.0),
    ('84176bfebae9', 1, 'evaluation', 2.0),
    ('84176bfebae9', 1, 'checkpoint', 1.0),
    ('0eb8048b3edf', 1, 'train', 10.0),
    ('0eb8048b3edf', 1, 'evaluation', 2.0),
    ('0eb8048b3edf', 1, 'checkpoint', 1.0);

INSERT INTO decision ("trial_id", "attempt", "sequence", "images", "verdict", "reason", "created_at") VALUES
    ('84176bfebae9', 1, 0, 480, 'go_on', 'no scheduler: every trial goes on past 480 images', 1000.0);

INSERT INTO rung_value ("trial_id", "images", "metric", "value", "attempt", "created_at") VALUES
    ('84176bfebae9', 480, 'heldout_v_error', 0.5, 1, 1000.0);

INSERT INTO score ("trial_id", "images", "evaluation_id", "n", "values", "grid", "attempt", "code_version", "created_at") VALUES
    ('84176bfebae9', 960, '72bdec72c30f', 64, '{"fd_efflite0_96": 1200.5}', 'file:///grid.png', 1, '0.1.0', 1000.0);
