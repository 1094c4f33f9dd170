BEGIN TRANSACTION;
CREATE TABLE contrail_cursors (
	name VARCHAR(200) NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "contrail_cursors" VALUES('since',1.79579796854555702205e+09);
INSERT INTO "contrail_cursors" VALUES('journal','{"contrail.alert-20261127-000.journal": 1487, "etl.event-20261127-000.journal": 2331}');
INSERT INTO "contrail_cursors" VALUES('store','{"etl.event": {"seq": 0}, "contrail.alert": {"seq": 0}, "relays": {}}');
INSERT INTO "contrail_cursors" VALUES('rules','"# yaml-language-server: $schema=alerts.schema.json\n# Who hears what. Read again when it changes; a broken file leaves the rules in force and says so.\n# Addresses and secrets are references: connection:<id>, variable:<key> or env:<NAME>, never the thing itself.\n\nchannels:\n  file: {type: file, path: alerts.jsonl}          # under Contrail''s home; nothing to set up\n  log: {type: log}                                # the watcher''s own log\n  # team-chat: {type: apprise, url: connection:team_chat}                # Slack, Teams, Discord \u2026 by Apprise URL\n  # hook: {type: webhook, url: env:ALERT_HOOK_URL, secret: [env:ALERT_HOOK_KEY]}\n  # mail: {type: smtp, connection: smtp_default, to: [data-team@example.com]}\n  # topic: {type: sns, connection: aws_default, topic: variable:alert_topic_arn}\n  # pager: {type: pagerduty, routing_key: connection:pagerduty}\n\nreceivers:\n  everybody:\n    channels: [file]\n    fallback: log\n    # escalate: [{after: 30m, receiver: on-call}]\n\nroutes:                                           # the first that matches decides, unless it says continue\n  # - match: {severity: critical}\n  #   receiver: on-call\n  #   continue: true\n  # - match: {owner: finance, hours: \"08:00-18:00\", days: mon-fri, timezone: Europe/Berlin}\n  #   receiver: finance\n  - receiver: everybody                           # the last: nothing comes after what takes every incident\n\ndeadlines: []\n#  - {name: flights-daily, dag: flights_*, run_finishes_within: 2h}\n#  - {name: flights-start, dag: flights_*, starts_by: \"06:00\", days: mon-fri, timezone: Europe/Berlin}\n#  - {name: flights-usual, dag: flights_*, slower_than_usual: 5}\n#  - {name: flights-rows, dag: flights_*, step: load, rows_at_least: 500}\n\nsilences: []                                      # times without a zone are in match.timezone (UTC)\n#  - {match: {dag: backfill_*}, starts: 2026-01-01T00:00:00Z, ends: 2026-01-02T00:00:00Z, comment: yearly backfill}\n"');
INSERT INTO "contrail_cursors" VALUES('canary',1.79579826854555702213e+09);
CREATE TABLE contrail_events (
	id VARCHAR(32) NOT NULL, 
	fact VARCHAR(32), 
	due FLOAT NOT NULL, 
	document JSON NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE contrail_facts (
	"key" VARCHAR(32) NOT NULL, 
	sign VARCHAR(16) NOT NULL, 
	time FLOAT NOT NULL, 
	incident_id VARCHAR(32), 
	document JSON NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "contrail_facts" VALUES('ff23be85950be17bb05793c5566b8fac','failed',1.79579826364547705652e+09,'8a155241c09107b5','{"family": "task", "sign": "failed", "time": 1795798263.645477, "cause": "app", "reason": "broken", "severity": "error", "certainty": 2, "witness": "callback", "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": -1, "try_number": 1, "iteration": null, "loop_id": null, "region_id": null, "ti_id": null, "name": "", "evidence": {"airflow.state": "failed", "host.name": "vm"}, "about": {"owner": "team", "env": "dev"}, "event_id": "eccc9d00be6f0a49676ebebaa3923af4"}');
CREATE TABLE contrail_history (
	id INTEGER NOT NULL, 
	measure VARCHAR(64) NOT NULL, 
	dag_id TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	occasion TEXT NOT NULL, 
	time FLOAT NOT NULL, 
	value FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT contrail_history_once UNIQUE (measure, dag_id, subject, occasion)
);
CREATE TABLE contrail_incidents (
	id VARCHAR(32) NOT NULL, 
	"key" TEXT NOT NULL, 
	open_key VARCHAR(64), 
	state VARCHAR(16) NOT NULL, 
	severity VARCHAR(16) NOT NULL, 
	dag_id TEXT, 
	first_seen FLOAT NOT NULL, 
	last_seen FLOAT NOT NULL, 
	due FLOAT, 
	document JSON NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (open_key)
);
INSERT INTO "contrail_incidents" VALUES('8a155241c09107b5','run:old:r1','82e71e33acd22dc93678386cfce8bd08','open','error','old',1.79579826364547705652e+09,1.79579826364547705652e+09,1.79581266910258460041e+09,'{"id": "8a155241c09107b5", "key": "run:old:r1", "state": "open", "family": "task", "severity": "error", "cause": "app", "reason": "broken", "certainty": 2, "first_seen": 1795798263.645477, "last_seen": 1795798263.645477, "count": 1, "notify_at": null, "told": "opened", "told_at": 1795798269.1025846, "remind_at": 1795812669.1025846, "level": 0, "acknowledged_at": null, "acknowledged_by": null, "resolved_at": null, "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": -1, "try_number": 1, "iteration": null, "region_id": null, "name": "", "early": false, "held_by": "", "suspects": [], "members": ["breaks"], "evidence": {"airflow.state": "failed", "host.name": "vm"}, "about": {"owner": "team", "env": "dev"}, "runs": {"r1": {"run_id": "r1", "kind": "", "date": null, "begun": 1795798263.645477, "partition": null, "catches_up": false, "failed": 1795798263.645477, "members": ["breaks"], "try": 1}}, "run_count": 0, "last_run": null, "merged_into": "", "said_members": 1, "settles_at": null}');
CREATE TABLE contrail_leases (
	name VARCHAR(64) NOT NULL, 
	holder TEXT NOT NULL, 
	beat INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "contrail_leases" VALUES('watcher','',4);
CREATE TABLE contrail_meta (
	name VARCHAR(64) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "contrail_meta" VALUES('version','1');
CREATE TABLE contrail_outbox (
	id INTEGER NOT NULL, 
	dedup_key VARCHAR(120) NOT NULL, 
	channel VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	dag_id TEXT, 
	incident_id VARCHAR(32), 
	attempts INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	next_attempt FLOAT, 
	sent FLOAT, 
	fact_time FLOAT, 
	folded_into INTEGER, 
	error TEXT, 
	message JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT contrail_outbox_once UNIQUE (dedup_key, channel)
);
INSERT INTO "contrail_outbox" VALUES(1,'8a155241c09107b5:opened:0:1795798269.103:0:0.000','file','sent','opened','old','8a155241c09107b5',1,1.79579826910258460049e+09,1.79579826910258460049e+09,1.79579826914335441588e+09,1.79579826364547705652e+09,NULL,NULL,'{"kind": "opened", "severity": "error", "title": "old: breaks failed: broken", "summary": "broken", "dedup_key": "8a155241c09107b5:opened:0:1795798269.103:0:0.000", "incident_id": "8a155241c09107b5", "incident_key": "run:old:r1", "cause": "app", "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": null, "iteration": null, "region_id": null, "count": 1, "environment": "dev", "time": "2026-11-27T16:51:03.645Z", "details": [["Cause", "error in the task''s code"], ["Since", "2026-11-27 16:51:03 UTC"], ["Next step", "Read the error at the frame above, fix the task, then clear it. The tasks that it blocks run after it."], ["Run", "r1"], ["Owner", "team"], ["More", "contrail alerts show 8a155241"]], "log": [], "links": [["Contrail", "http://127.0.0.1:8080/contrail/dags/old/runs/r1/tasks/breaks"], ["Airflow", "http://127.0.0.1:8080/dags/old/runs/r1/tasks/breaks"], ["Runbook", "http://127.0.0.1:8080/contrail/runbooks?page=task-failed"]], "incidents": [], "more": 0, "pair": "8a155241c09107b5", "try_number": 1, "failed": 1}');
CREATE TABLE contrail_run_times (
	dag_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	begun FLOAT NOT NULL, 
	ended FLOAT, 
	succeeded BOOLEAN, 
	ordinary BOOLEAN NOT NULL, 
	tasks JSON NOT NULL, 
	PRIMARY KEY (dag_id, run_id)
);
INSERT INTO "contrail_run_times" VALUES('old','r1',1.79579826364547705652e+09,NULL,NULL,1,'{"works": [0.0, 0.0, 1, 1], "breaks": [0.0, null, 1, 0]}');
CREATE TABLE contrail_seen (
	id VARCHAR(64) NOT NULL, 
	time FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE contrail_silences (
	id INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	matchers JSON NOT NULL, 
	starts FLOAT NOT NULL, 
	ends FLOAT NOT NULL, 
	who TEXT NOT NULL, 
	comment TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_contrail_facts_time ON contrail_facts (time);
CREATE INDEX ix_contrail_facts_incident_id ON contrail_facts (incident_id);
CREATE INDEX ix_contrail_incidents_due ON contrail_incidents (due);
CREATE INDEX ix_contrail_incidents_dag_id ON contrail_incidents (dag_id);
CREATE INDEX ix_contrail_incidents_key ON contrail_incidents ("key");
CREATE INDEX contrail_outbox_due ON contrail_outbox (channel, state, next_attempt);
CREATE INDEX ix_contrail_outbox_created ON contrail_outbox (created);
CREATE INDEX contrail_outbox_recent ON contrail_outbox (channel, created);
CREATE INDEX contrail_outbox_recent_of_dag ON contrail_outbox (channel, dag_id, created);
CREATE INDEX ix_contrail_outbox_incident_id ON contrail_outbox (incident_id);
CREATE INDEX ix_contrail_events_due ON contrail_events (due);
CREATE INDEX ix_contrail_events_fact ON contrail_events (fact);
CREATE INDEX contrail_run_times_recent ON contrail_run_times (dag_id, begun);
CREATE INDEX ix_contrail_seen_time ON contrail_seen (time);
COMMIT;
PRAGMA user_version = 0;
