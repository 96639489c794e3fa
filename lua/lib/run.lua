if overtaken() then return 0 end
if attempt > 1 then op_remember(batch, ops_memory_ms, attempt) end

-- Reads what the batch names, decides its operations in order, writes once.
local ARGV_n = #ARGV

do
  local at, ids, skus, keys, ids_n, last_sku = FIRST_OPERATION, {}, {}, {}, 0, nil
  while at <= ARGV_n do
    local spec, first = OPERATIONS[ARGV[at]], at + 1
    local id, sku, op = spec.id, spec.sku, spec.op
    if id then
      ids_n = ids_n + 1
      ids[ids_n] = ARGV[at + id]
    end
    if sku and ARGV[at + sku] ~= last_sku then
      last_sku = ARGV[at + sku]
      skus[#skus + 1] = last_sku
    end
    if op then keys[#keys + 1] = ARGV[at + op] end
    at = first + spec.arity
    if spec.many then at = at + 1 + tonumber(ARGV[at]) end
  end
  holds_read(ids)
  for _, id in ipairs(ids) do
    if holds[id] then skus[#skus + 1] = holds[id].sku end
  end
  stock_read(skus)
  ops_read(keys)
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
