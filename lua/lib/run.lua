-- Reads what the batch names, decides its operations in order, writes once.
local ARGV_n = #ARGV

do
  local at, ids, skus, keys, lot_ids = FIRST_OPERATION, {}, {}, {}, { batch }
  local ids_n, skus_n, keys_n, lots_n = 0, 0, 0, 1
  while at <= ARGV_n do
    local spec = OPERATIONS[ARGV[at]]
    if spec.lots then
      spec.lots(at + 1, function(id)
        lots_n = lots_n + 1
        lot_ids[lots_n] = id
      end)
    end
    if spec.id then
      ids_n = ids_n + 1
      ids[ids_n] = ARGV[at + spec.id]
    end
    if spec.sku then
      skus_n = skus_n + 1
      skus[skus_n] = ARGV[at + spec.sku]
    end
    if spec.op then
      keys_n = keys_n + 1
      keys[keys_n] = ARGV[at + spec.op]
    end
    at = at + 1 + spec.arity
    if spec.many then at = at + 1 + tonumber(ARGV[at]) end
  end
  -- The sidecar sends a batch again where it got no answer. The first sending may still be on its way (a frozen upstream, a
  -- packet held up) and arrive after the second one was answered: it is told by the number that the second one left here.
  lots[batch] = false
  local sent = lots_read(lot_ids, lots_n)
  local forgotten, latest = match(sent or '0 0', '^(%d+) (%d+)$')
  if forgotten + 0 > now and latest + 0 > attempt then return 0 end
  if attempt > 1 then
    lots_made[batch] = format('%.0f %.0f', now + ops_memory_ms, attempt)
    ended_set('l' .. batch, now + ops_memory_ms)
  end
  holds_read(ids, ids_n)
  for i = 1, ids_n do
    local sku = holds[ids[i]] and hold_sku(holds[ids[i]])
    if sku then
      skus_n = skus_n + 1
      skus[skus_n] = sku
    end
  end
  for i = 2, lots_n do
    local lot = lots[lot_ids[i]]
    if lot then
      skus_n = skus_n + 1
      skus[skus_n] = lot.sku
    end
  end
  stock_read(skus)
  ops_read(keys, keys_n)
end

local results = {}
do
  local at, n = FIRST_OPERATION, 0
  while at <= ARGV_n do
    local spec = OPERATIONS[ARGV[at]]
    local result = spec.run(at + 1)
    if result == STOP then break end
    n = n + 1
    results[n] = result
    at = at + 1 + spec.arity
    if spec.many then at = at + 1 + tonumber(ARGV[at]) end
  end
end
flush()
return { now, expired_count, results }
