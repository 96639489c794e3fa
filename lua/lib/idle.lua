-- What the sidecar asks by itself, over and over, and is mostly told that there is nothing: answered before anything is defined.
-- A later sending goes the long way, which knows whether it was overtaken (lib/run.lua); a first one that was does nothing here.
if #letters == 1 and ARGV[5] == '1' then
  -- See ops/reap.lua.
  if letters == 'X' and #ARGV == FIRST_OPERATION + 2
    and #call('ZRANGEBYSCORE', KEY_DUE, '-inf', now, 'LIMIT', 0, 1) == 0
    and #call('ZRANGEBYSCORE', KEY_ENDED, '-inf', now, 'LIMIT', 0, 1) == 0
  then
    return { now, 0, { { 0, 0 } } }
  end
  -- See ops/protect.lua.
  if letters == 'L' and #ARGV == FIRST_OPERATION + 1 then
    local version = tonumber(call('HGET', KEY_META, 'protected_version') or '0')
    if tonumber(ARGV[FIRST_OPERATION + 1]) == version then return { now, 0, { { version } } } end
  end
end

