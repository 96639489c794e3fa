if overtaken() then return 0 end
if attempt > 1 then op_remember(batch, ops_memory_ms, attempt) end

-- Reads what the batch names, decides its operations in order, writes once.
local function many_count(spec, first) return spec.many and 1 + tonumber(ARGV[first + spec.arity]) or 0 end

do
  local at, ids, skus, keys = FIRST_OPERATION, {}, {}, {}
  while at <= #ARGV do
    local spec, first = OPERATIONS[ARGV[at]], at + 1
    if spec.id then ids[#ids + 1] = ARGV[first + spec.id - 1] end
    if spec.sku then skus[#skus + 1] = ARGV[first + spec.sku - 1] end
    if spec.op then keys[#keys + 1] = ARGV[first + spec.op - 1] end
    at = first + spec.arity + many_count(spec, first)
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
  local at = FIRST_OPERATION
  while at <= #ARGV do
    local spec, first = OPERATIONS[ARGV[at]], at + 1
    local result = spec.run(first)
    if result == STOP then break end
    results[#results + 1] = result
    at = first + spec.arity + many_count(spec, first)
  end
end
flush()
return { now, expired_count, results }
