BEGIN TRANSACTION;
CREATE TABLE contrail_cursors (
	name VARCHAR(200) NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "contrail_cursors" VALUES('since',1.79561419293838095663e+09);
INSERT INTO "contrail_cursors" VALUES('journal','{"contrail.alert-20261125-000.journal": 1404, "etl.event-20261125-000.journal": 2331}');
INSERT INTO "contrail_cursors" VALUES('canary',1.79561449293838095667e+09);
CREATE TABLE contrail_facts (
	"key" VARCHAR(32) NOT NULL, 
	sign VARCHAR(16) NOT NULL, 
	time FLOAT NOT NULL, 
	incident_id VARCHAR(32), 
	document JSON NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "contrail_facts" VALUES('ff23be85950be17bb05793c5566b8fac','failed',1.79561448893601894377e+09,'5a51fea6232ad634','{"family": "task", "sign": "failed", "time": 1795614488.936019, "cause": "app", "reason": "broken", "severity": "error", "certainty": 2, "witness": "callback", "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": -1, "try_number": 1, "name": "", "evidence": {"airflow.state": "failed", "host.name": "vm"}, "about": {"owner": "team", "env": "dev"}}');
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
INSERT INTO "contrail_incidents" VALUES('5a51fea6232ad634','run:old:r1','82e71e33acd22dc93678386cfce8bd08','open','error','old',1.79561448893601894377e+09,1.79561448893601894377e+09,1.79562889325871872904e+09,'{"id": "5a51fea6232ad634", "key": "run:old:r1", "state": "open", "family": "task", "severity": "error", "cause": "app", "reason": "broken", "certainty": 2, "first_seen": 1795614488.936019, "last_seen": 1795614488.936019, "count": 1, "notify_at": null, "told": "opened", "told_at": 1795614493.2587187, "remind_at": 1795628893.2587187, "level": 0, "acknowledged_at": null, "acknowledged_by": null, "resolved_at": null, "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": -1, "try_number": 1, "name": "", "early": false, "held_by": "", "suspects": [], "members": ["breaks"], "evidence": {"airflow.state": "failed", "host.name": "vm"}, "about": {"owner": "team", "env": "dev"}}');
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
INSERT INTO "contrail_outbox" VALUES(1,'5a51fea6232ad634:opened:0:1795614493.259:0:1795628893.259','file','sent','opened','old','5a51fea6232ad634',1,1.79561449325871872904e+09,1.79561449325871872904e+09,1.79561449329677653313e+09,1.79561448893601894377e+09,NULL,NULL,'{"kind": "opened", "severity": "error", "title": "old.breaks: app", "summary": "broken", "dedup_key": "5a51fea6232ad634:opened:0:1795614493.259:0:1795628893.259", "incident_id": "5a51fea6232ad634", "incident_key": "run:old:r1", "cause": "app", "dag_id": "old", "run_id": "r1", "task_id": "breaks", "map_index": null, "count": 1, "environment": "dev", "time": "2026-11-25T13:48:08.936Z", "details": [["Run", "r1"], ["Attempt", "1"], ["Owner", "team"]], "log": [], "links": [["Airflow", "http://127.0.0.1:8080/dags/old/runs/r1/tasks/breaks"], ["Runbook", "docs/runbooks/task-failed.md"]], "incidents": []}');
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
CREATE INDEX ix_contrail_facts_incident_id ON contrail_facts (incident_id);
CREATE INDEX ix_contrail_facts_time ON contrail_facts (time);
CREATE INDEX ix_contrail_incidents_due ON contrail_incidents (due);
CREATE INDEX ix_contrail_incidents_key ON contrail_incidents ("key");
CREATE INDEX ix_contrail_incidents_dag_id ON contrail_incidents (dag_id);
CREATE INDEX ix_contrail_outbox_incident_id ON contrail_outbox (incident_id);
CREATE INDEX contrail_outbox_due ON contrail_outbox (channel, state, next_attempt);
CREATE INDEX ix_contrail_outbox_created ON contrail_outbox (created);
COMMIT;
PRAGMA user_version = 0;
