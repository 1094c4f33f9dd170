BEGIN TRANSACTION;
CREATE TABLE contrail_counts (
  sink text not null, stream text not null, result text not null, number integer not null,
  primary key (sink, stream, result)
) without rowid;
CREATE TABLE contrail_cursors (
  sink text not null, identity text not null, name text not null, offset integer not null, tail blob not null,
  part integer not null, sending integer not null, checksum integer not null, updated real not null,
  primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_cursors" VALUES('witness','5c8242e78d9128f1','dag_id=old/run_id=r1/task_id=works/attempt=1.log',345,X'6C6576656C223A22696E666F222C226576656E74223A226C696E652034227D0A',0,0,399747223,1.79579827230658578877e+09);
CREATE TABLE contrail_facts (name text primary key, value text not null) without rowid;
INSERT INTO "contrail_facts" VALUES('began:witness','1795798272.112246');
INSERT INTO "contrail_facts" VALUES('boot:witness','8d1a3025-7aa0-434e-8f2a-9c36ea895129');
CREATE TABLE contrail_finished (
  sink text not null, identity text not null, stamp integer not null, primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_finished" VALUES('witness','5c8242e78d9128f1',-5905436500267414888);
CREATE TABLE contrail_latest (
  sink text not null, identity text not null, latest integer not null, primary key (sink, identity)
) without rowid;
COMMIT;
PRAGMA user_version = 1;
