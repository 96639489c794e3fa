-- Protected SKUs, and the version by which a sidecar knows whether its copy is the newest.
local protected, protected_changed, protected_version
local protected_read, protected_version_read, protect, flush_protected

if has.S or has.P or has.U or has.Q or has.L then
  protected, protected_changed = {}, {}

  protected_read = function(skus)
    local missing = {}
    for _, sku in ipairs(skus) do
      if protected[sku] == nil then missing[#missing + 1] = sku end
    end
    for from = 1, #missing, PAGE do
      local to = math.min(from + PAGE - 1, #missing)
      local marks = call('SMISMEMBER', KEY_PROTECTED, unpack(missing, from, to))
      for i = from, to do protected[missing[i]] = marks[i - from + 1] == 1 end
    end
  end

  protected_version_read = function()
    if not protected_version then
      protected_version = tonumber(call('HGET', KEY_META, 'protected_version') or '0')
    end
    return protected_version
  end

  -- PROTECT and UNPROTECT. Result: { how many changed, version before, version after }; a sending again: versions -1, now.
  protect = function(token, skus, mark)
    local version = protected_version_read()
    local seen = op_seen(token)
    if seen then return { seen[2], -1, version } end
    protected_read(skus)
    local changed = 0
    for _, sku in ipairs(skus) do
      if protected[sku] ~= mark then
        protected[sku], protected_changed[sku] = mark, true
        changed = changed + 1
      end
    end
    if changed > 0 then
      -- Never a number that was there before, also where the upstream has lost its data and counts anew.
      protected_version = math.max(version + 1, now)
      op_remember(token, ops_memory_ms, changed)
    end
    return { changed, version, protected_version }
  end

  flush_protected = function()
    local marks, unmarks = {}, {}
    for sku in pairs(protected_changed) do
      if protected[sku] then marks[#marks + 1] = sku else unmarks[#unmarks + 1] = sku end
    end
    write('SADD', KEY_PROTECTED, marks, #marks)
    write('SREM', KEY_PROTECTED, unmarks, #unmarks)
    if #marks + #unmarks > 0 then call('HSET', KEY_META, 'protected_version', format('%.0f', protected_version)) end
  end
end
