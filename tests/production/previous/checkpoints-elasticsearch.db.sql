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
INSERT INTO "contrail_cursors" VALUES('elasticsearch','6e34ae77cb0212fc','dag_id=old/run_id=r1/task_id=works/attempt=1.log',0,X'',0,345,2636062412,1.79561449492483448981e+09);
CREATE TABLE contrail_facts (name text primary key, value text not null) without rowid;
INSERT INTO "contrail_facts" VALUES('boot:elasticsearch','c03ccb97-d0bc-42e5-b271-79dc9a91b4cc');
COMMIT;
PRAGMA user_version = 0;
