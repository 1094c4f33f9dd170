BEGIN TRANSACTION;
CREATE TABLE contrail_counts (
  sink text not null, stream text not null, result text not null, number integer not null,
  primary key (sink, stream, result)
) without rowid;
INSERT INTO "contrail_counts" VALUES('embedded','airflow.task','emitted',5);
INSERT INTO "contrail_counts" VALUES('embedded','airflow.task','stored',5);
INSERT INTO "contrail_counts" VALUES('embedded','contrail.alert','emitted',2);
INSERT INTO "contrail_counts" VALUES('embedded','contrail.alert','stored',2);
INSERT INTO "contrail_counts" VALUES('embedded','etl.event','emitted',4);
INSERT INTO "contrail_counts" VALUES('embedded','etl.event','stored',4);
CREATE TABLE contrail_cursors (
  sink text not null, identity text not null, name text not null, offset integer not null, tail blob not null,
  part integer not null, sending integer not null, checksum integer not null, updated real not null,
  primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_cursors" VALUES('embedded','3b046538ffd614d7','etl.event-20261127-000.journal',2331,X'2E6E616D65223A22766D222C2270726F636573732E706964223A343436327D0A',0,0,1829115795,1.79579827230137372014e+09);
INSERT INTO "contrail_cursors" VALUES('embedded','55536793a0935e3b','contrail.alert-20261127-000.journal',1487,X'2E6E616D65223A22766D222C2270726F636573732E706964223A343533307D0A',0,0,1305587041,1.79579827230111384395e+09);
INSERT INTO "contrail_cursors" VALUES('embedded','5c8242e78d9128f1','dag_id=old/run_id=r1/task_id=works/attempt=1.log',345,X'6C6576656C223A22696E666F222C226576656E74223A226C696E652034227D0A',0,0,399747223,1.79579827230159592629e+09);
CREATE TABLE contrail_facts (name text primary key, value text not null) without rowid;
INSERT INTO "contrail_facts" VALUES('began:embedded','1795798272.082928');
INSERT INTO "contrail_facts" VALUES('boot:embedded','8d1a3025-7aa0-434e-8f2a-9c36ea895129');
CREATE TABLE contrail_finished (
  sink text not null, identity text not null, stamp integer not null, primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_finished" VALUES('embedded','3b046538ffd614d7',8324662518854523613);
INSERT INTO "contrail_finished" VALUES('embedded','55536793a0935e3b',3071502432676515201);
INSERT INTO "contrail_finished" VALUES('embedded','5c8242e78d9128f1',-5905436500267414888);
CREATE TABLE contrail_latest (
  sink text not null, identity text not null, latest integer not null, primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_latest" VALUES('embedded','5c8242e78d9128f1',1795798262000000004);
CREATE TABLE events (
  seq integer primary key, id text not null unique, dataset text not null, at text not null, action text,
  dag_id text, task_id text, run_id text, document text not null
);
INSERT INTO "events" VALUES(1,'1211c6fff8bc07009e7917fb339a2dd9','contrail.alert','2026-11-27T16:51:09.102585Z','incident.opened','old','breaks','r1','{"event.id":"1211c6fff8bc07009e7917fb339a2dd9","@timestamp":"2026-11-27T16:51:09.102585Z","event.action":"incident.opened","airflow.dag_id":"old","airflow.task_id":"breaks","airflow.run_id":"r1","airflow.owner":"team","airflow.run_path":"dags/old/runs/r1/tasks/breaks","incident.id":"8a155241c09107b5","incident.key":"run:old:r1","incident.state":"open","incident.title":"old: breaks failed: broken","incident.severity":"error","incident.count":1,"event.reason":"broken","airflow.cause":"app","incident.age":5457107543,"incident.runbook":"task-failed","event.kind":"alert","event.outcome":"failure","event.sequence":1,"log.level":"error","message":"Incident opened: broken","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4530}');
INSERT INTO "events" VALUES(2,'2fa21e731cceff64abea80d927d4de1e','contrail.alert','2026-11-27T16:51:09.159255Z','notification.sent','old','breaks','r1','{"event.id":"2fa21e731cceff64abea80d927d4de1e","@timestamp":"2026-11-27T16:51:09.159255Z","event.action":"notification.sent","airflow.dag_id":"old","airflow.task_id":"breaks","airflow.run_id":"r1","airflow.run_path":"dags/old/runs/r1/tasks/breaks","notification.channel":"file","notification.kind":"opened","incident.id":"8a155241c09107b5","incident.key":"run:old:r1","event.reason":"broken","notification.attempts":1,"airflow.cause":"app","event.duration":5497877359,"notification.state":"sent","event.kind":"alert","event.outcome":"success","event.sequence":2,"log.level":"info","message":"Notified file: broken","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4530}');
INSERT INTO "events" VALUES(3,'7809c777d459ea06c7dcc4cb2fc0e182','etl.event','2026-11-27T16:51:03.645477Z','task.started','old','works','r1','{"event.id":"7809c777d459ea06c7dcc4cb2fc0e182","@timestamp":"2026-11-27T16:51:03.645477Z","event.action":"task.started","airflow.dag_id":"old","airflow.task_id":"works","airflow.run_id":"r1","airflow.try_number":1,"airflow.map_index":-1,"airflow.owner":"team","airflow.run_path":"dags/old/runs/r1/tasks/works","airflow.state":"running","event.kind":"event","event.outcome":"unknown","event.sequence":1,"log.level":"info","message":"Attempt 1 began","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4462}');
INSERT INTO "events" VALUES(4,'6d8b6f4e545bfb872dc553f6e12d6abf','etl.event','2026-11-27T16:51:03.645477Z','task.succeeded','old','works','r1','{"event.id":"6d8b6f4e545bfb872dc553f6e12d6abf","@timestamp":"2026-11-27T16:51:03.645477Z","event.action":"task.succeeded","airflow.dag_id":"old","airflow.task_id":"works","airflow.run_id":"r1","airflow.try_number":1,"airflow.map_index":-1,"airflow.owner":"team","airflow.run_path":"dags/old/runs/r1/tasks/works","airflow.state":"success","airflow.witness":"callback","event.kind":"event","event.outcome":"success","event.sequence":2,"log.level":"info","message":"Task succeeded on attempt 1","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4462}');
INSERT INTO "events" VALUES(5,'5da96103d5f1366cf94c5c54a6161c60','etl.event','2026-11-27T16:51:03.645477Z','task.started','old','breaks','r1','{"event.id":"5da96103d5f1366cf94c5c54a6161c60","@timestamp":"2026-11-27T16:51:03.645477Z","event.action":"task.started","airflow.dag_id":"old","airflow.task_id":"breaks","airflow.run_id":"r1","airflow.try_number":1,"airflow.map_index":-1,"airflow.owner":"team","airflow.run_path":"dags/old/runs/r1/tasks/breaks","airflow.state":"running","event.kind":"event","event.outcome":"unknown","event.sequence":3,"log.level":"info","message":"Attempt 1 began","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4462}');
INSERT INTO "events" VALUES(6,'eccc9d00be6f0a49676ebebaa3923af4','etl.event','2026-11-27T16:51:03.645477Z','task.failed','old','breaks','r1','{"event.id":"eccc9d00be6f0a49676ebebaa3923af4","@timestamp":"2026-11-27T16:51:03.645477Z","event.action":"task.failed","airflow.dag_id":"old","airflow.task_id":"breaks","airflow.run_id":"r1","airflow.try_number":1,"airflow.map_index":-1,"airflow.owner":"team","airflow.run_path":"dags/old/runs/r1/tasks/breaks","airflow.cause":"app","event.reason":"broken","airflow.state":"failed","airflow.witness":"callback","event.kind":"event","event.outcome":"failure","event.sequence":4,"log.level":"error","message":"Task failed for good: app: broken","service.name":"airflow","service.environment":"dev","host.name":"vm","process.pid":4462}');
CREATE TABLE logs (
  seq integer primary key, source integer not null, position integer not null, at text not null, line text not null,
  unique (source, position)
);
INSERT INTO "logs" VALUES(1,1,0,'2026-11-27T16:51:02.000000Z','"offset":1795798262000000000,"@timestamp":"2026-11-27T16:51:02.000000Z","timestamp":"2026-11-27T16:51:02.000000Z","level":"info","event":"line 0"}');
INSERT INTO "logs" VALUES(2,1,69,'2026-11-27T16:51:02.000000Z','"offset":1795798262000000001,"@timestamp":"2026-11-27T16:51:02.000000Z","timestamp":"2026-11-27T16:51:02.000000Z","level":"info","event":"line 1"}');
INSERT INTO "logs" VALUES(3,1,138,'2026-11-27T16:51:02.000000Z','"offset":1795798262000000002,"@timestamp":"2026-11-27T16:51:02.000000Z","timestamp":"2026-11-27T16:51:02.000000Z","level":"info","event":"line 2"}');
INSERT INTO "logs" VALUES(4,1,207,'2026-11-27T16:51:02.000000Z','"offset":1795798262000000003,"@timestamp":"2026-11-27T16:51:02.000000Z","timestamp":"2026-11-27T16:51:02.000000Z","level":"info","event":"line 3"}');
INSERT INTO "logs" VALUES(5,1,276,'2026-11-27T16:51:02.000000Z','"offset":1795798262000000004,"@timestamp":"2026-11-27T16:51:02.000000Z","timestamp":"2026-11-27T16:51:02.000000Z","level":"info","event":"line 4"}');
CREATE TABLE metrics (
  seq integer primary key, id text not null unique, series integer not null, at text not null, document text not null
);
CREATE TABLE series (
  series integer primary key, name text not null, tags text not null, last_at text not null, unique (name, tags)
);
CREATE TABLE sources (
  source integer primary key, identity text not null, dataset text not null, prefix text not null,
  dag_id text, task_id text, run_id text, try_number integer, map_index integer, component text,
  first_at text not null, last_at text not null, unique (identity, prefix)
);
INSERT INTO "sources" VALUES(1,'5c8242e78d9128f1','airflow.task','{"airflow.dag_id":"old","airflow.task_id":"works","airflow.run_id":"r1","airflow.try_number":1,"airflow.map_index":-1,"airflow.component":"task","log_id":"old-works-r1--1-1","host.name":"vm","service.name":"airflow","service.environment":"dev","log.file.path":"dag_id=old/run_id=r1/task_id=works/attempt=1.log",','old','works','r1',1,-1,'task','2026-11-27T16:51:02.000000Z','2026-11-27T16:51:02.000000Z');
CREATE INDEX sources_by_attempt on sources (dag_id, run_id, task_id);
CREATE INDEX sources_by_time on sources (last_at);
CREATE INDEX logs_by_time on logs (at);
CREATE INDEX events_by_time on events (dataset, at);
CREATE INDEX events_by_dag on events (dataset, dag_id, at);
CREATE INDEX events_by_run on events (dataset, dag_id, run_id, task_id);
CREATE INDEX metrics_by_series on metrics (series, at);
CREATE INDEX metrics_by_time on metrics (at);
COMMIT;
PRAGMA user_version = 1;
